"""Tiny language models that serve as text encoders, with their tokenizers."""

from __future__ import annotations

from pathlib import Path

from tiny.tokenizers import write_qwen_tokenizer

CHAT = (
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' + message.content + "
    "'<|im_end|>\\n' }}{%- endfor %}{%- if add_generation_prompt %}"
    "{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


def write_qwen3(folder: Path, hidden: int) -> None:
    """Qwen3 and its tokenizer, which has a template of a talk, in a model folder."""
    from transformers import Qwen3Config, Qwen3Model

    config = Qwen3Config(
        vocab_size=1000,
        hidden_size=hidden,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
    )
    Qwen3Model(config).save_pretrained(folder / "text_encoder")
    write_qwen_tokenizer(folder / "tokenizer")
    (folder / "tokenizer" / "chat_template.jinja").write_text(CHAT)


def write_gemma2(folder: Path, hidden: int, words: str = "") -> None:
    """Gemma 2 and its tokenizer, which pads on the left by itself, in a model folder.

    Args:
        words: those of this text are a token each; all others are letters.
    """
    from transformers import Gemma2Config, Gemma2Model

    config = Gemma2Config(
        vocab_size=2000,
        hidden_size=hidden,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        sliding_window=64,
    )
    Gemma2Model(config).save_pretrained(folder / "text_encoder")
    write_gemma_tokenizer(folder / "tokenizer", words)


def write_gemma_tokenizer(folder: Path, words: str) -> None:
    """A GemmaTokenizer whose vocabulary is letters, and the words of a text."""
    from transformers import GemmaTokenizer

    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    letters = [chr(code) for code in range(33, 127)]
    merges: list[tuple[str, str]] = []
    for word in dict.fromkeys(words.split()):
        parts = [*word]
        while len(parts) > 1:
            merges.append((parts[0], parts[1]))
            parts = [parts[0] + parts[1], *parts[2:]]
    merges = list(dict.fromkeys(merges))
    made = [start + end for start, end in merges]
    vocabulary = dict.fromkeys([*special, "▁", "\n", *letters, *made])
    tokenizer = GemmaTokenizer(
        vocab={token: number for number, token in enumerate(vocabulary)}, merges=merges
    )
    tokenizer.save_pretrained(folder)


def write_umt5(folder: Path, hidden: int) -> None:
    """UMT5's encoder and a LlamaTokenizer, as AuraFlow has them, in a model folder."""
    from transformers import LlamaTokenizer, UMT5Config, UMT5EncoderModel

    config = UMT5Config(vocab_size=200, d_model=hidden, d_kv=8, d_ff=37, num_layers=2, num_heads=4)
    UMT5EncoderModel(config).save_pretrained(folder / "text_encoder")
    letters = [chr(code) for code in range(33, 127)]
    vocabulary = dict.fromkeys(["<pad>", "</s>", "<unk>", "<s>", "▁", "\n", *letters])
    tokenizer = LlamaTokenizer(
        vocab={token: i for i, token in enumerate(vocabulary)},
        merges=[],
        pad_token="<pad>",
        padding_side="right",
    )
    tokenizer.save_pretrained(folder / "tokenizer")


def write_glm(folder: Path, hidden: int) -> None:
    """GLM and a fast tokenizer of no class of its own, as CogView 4 has them, in a model folder."""
    from transformers import GlmConfig, GlmModel

    config = GlmConfig(
        vocab_size=300,
        hidden_size=hidden,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        pad_token_id=0,
        eos_token_id=0,
    )
    GlmModel(config).save_pretrained(folder / "text_encoder")
    write_byte_tokenizer(folder / "tokenizer", ("[gMASK]", "<sop>"), "left")


def write_llama(folder: Path, encoder: str, tokenizer: str, hidden: int) -> None:
    """Llama and a fast tokenizer of no class of its own, as HiDream has them, in a model folder."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=300,
        hidden_size=hidden,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder / encoder)
    write_byte_tokenizer(folder / tokenizer, ("<|begin_of_text|>",))


def write_byte_tokenizer(folder: Path, marks: tuple[str, ...], padding_side: str = "right") -> None:
    """A PreTrainedTokenizerFast whose vocabulary is bytes.

    Args:
        marks: that stand before every text.
    """
    from tokenizers import Tokenizer
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    vocabulary = ["<|endoftext|>", *marks, *sorted(ByteLevel.alphabet())]
    bytes_alone = Tokenizer(BPE(vocab={t: i for i, t in enumerate(vocabulary)}, merges=[]))
    bytes_alone.pre_tokenizer = ByteLevel(add_prefix_space=False)
    bytes_alone.post_processor = TemplateProcessing(
        single=" ".join([*marks, "$A"]),
        special_tokens=[(mark, number) for number, mark in enumerate(marks, start=1)],
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bytes_alone,
        pad_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        padding_side=padding_side,
    )
    tokenizer.save_pretrained(folder)
