"""Tiny tokenizers of the real classes."""

from __future__ import annotations

import json
from pathlib import Path

WORDS = (
    *("a", "on", "at", "the", "large", "small", "red", "green", "blue", "yellow"),
    *("circle", "square", "star", "background"),
)
WINDOW = 12


def write_clip_tokenizer(
    folder: Path, pad_token: str = "<|endoftext|>", window: int = WINDOW
) -> None:
    """A CLIPTokenizer whose vocabulary is bytes, and a few whole words."""
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    letters = sorted({c for w in WORDS for c in w} | set("bcdefghijklmnopqrstuvwxyz0123456789,.'-"))
    vocabulary = ["<|startoftext|>", "<|endoftext|>", *letters, *(c + "</w>" for c in letters)]
    merges = []
    for word in WORDS:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            merges.append((parts[0], parts[1]))
            parts = [parts[0] + parts[1], *parts[2:]]
            vocabulary.append(parts[0])
    merges = list(dict.fromkeys(merges))
    vocab = {token: i for i, token in enumerate(dict.fromkeys(vocabulary))}
    (folder / "vocab.json").write_text(json.dumps(vocab))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    tokenizer = CLIPTokenizer(
        vocab=str(folder / "vocab.json"),
        merges=str(folder / "merges.txt"),
        model_max_length=window,
        pad_token=pad_token,
    )
    tokenizer.save_pretrained(folder)


def write_t5_tokenizer(folder: Path) -> None:
    """A T5Tokenizer whose vocabulary is letters, and a few whole words."""
    from transformers import T5Tokenizer

    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    letters = [(letter, -4.0) for letter in "▁abcdefghijklmnopqrstuvwxyz0123456789,.'-"]
    words = [(f"▁{word}", -2.0) for word in WORDS]
    T5Tokenizer(vocab=[*special, *letters, *words], extra_ids=0).save_pretrained(folder)


CHAT_WORDS = (
    *("system", "user", "assistant", "Describe", "the", "image", "by", "detailing", "color"),
    *("shape", "size", "texture", "quantity", "text", "spatial", "relationships", "of", "objects"),
    *("and", "background", "key", "features", "input", "then", "explain", "how", "should", "alter"),
    *("or", "modify", "Generate", "a", "new", "that", "meets", "requirements", "while"),
    *("maintaining", "consistency", "with", "original", "where", "appropriate", "instruction"),
    *("to", "Picture", "(", "),", "'s"),
)
"""Those that the templates of Qwen-Image and Krea 2 are made of, so that they have as many tokens
here as with the real vocabulary."""
CHAT_MARKS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|image_pad|>", "<|video_pad|>"),
)


def write_qwen_tokenizer(folder: Path) -> dict[str, int]:
    """A Qwen2Tokenizer whose vocabulary is bytes, and some whole words, with a space before them
    too. Returns the numbers of the marks of a chat."""
    from tokenizers import Tokenizer
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel
    from tokenizers.trainers import BpeTrainer
    from transformers import Qwen2Tokenizer

    learner = Tokenizer(BPE())
    learner.pre_tokenizer = Qwen2Tokenizer().backend_tokenizer.pre_tokenizer
    letters = sorted(ByteLevel.alphabet())
    trainer = BpeTrainer(
        vocab_size=2000, min_frequency=1, initial_alphabet=letters, show_progress=False
    )
    words = dict.fromkeys((*WORDS, *CHAT_WORDS))
    learner.train_from_iterator([spelled for w in words for spelled in (w, f" {w}")], trainer)
    learnt = json.loads(learner.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=learnt["vocab"],
        merges=[tuple(pair) for pair in learnt["merges"]],
        additional_special_tokens=list(CHAT_MARKS[1:]),
    )
    tokenizer.save_pretrained(folder)
    return {mark: tokenizer.convert_tokens_to_ids(mark) for mark in CHAT_MARKS}
