"""Tiny tokenizers of the real classes."""

from __future__ import annotations

import json
from pathlib import Path

WORDS = (
    *("a", "on", "at", "the", "large", "small", "red", "green", "blue", "yellow"),
    *("circle", "square", "star", "background"),
)
WINDOW = 12


def write_clip_tokenizer(folder: Path, pad_token: str = "<|endoftext|>") -> None:
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
        model_max_length=WINDOW,
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
