"""Tokenizers of model folders: seen to be whole, read, and seen to work."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ldm_core.contracts import Part
from ldm_core.errors import LdmError
from ldm_core.model.loading import reading
from ldm_core.model.reading import read_json
from ldm_plugins.shared.quiet import quiet

TOKENIZER, CONFIG = "tokenizer.json", "tokenizer_config.json"
OWN = {
    "CLIPTokenizer": ("vocab.json", "merges.txt"),
    "Qwen2Tokenizer": ("vocab.json", "merges.txt"),
    "T5Tokenizer": ("spiece.model",),
    "BertTokenizer": ("vocab.txt",),
    "ChatGLMTokenizer": ("tokenizer.model",),
}
"""The vocabularies that older versions of each class wrote, in place of a tokenizer.json; without
one Transformers goes on with an empty one."""
SLOW = {"ChatGLMTokenizer"}
"""Those that do not say which letters their tokens stand for; who uses them finds out."""
TABLES = (CONFIG, "special_tokens_map.json", "added_tokens.json", "vocab.json")
FILES = ("vocab_file", "merges_file", "tokenizer_file", "spm_file")
"""Keys by which a config would have another file read."""
LOOK = "copy or download it again."
EXTRA = "extra_ids"
"""Key of how many tokens T5's tokenizer makes beside its vocabulary, before it reads that."""
MOST_EXTRA = 10_000
"""Of them; T5 has 100."""


def check_files(folder: Path, cls: str) -> None:
    """See that a tokenizer's files are there, and the small ones can be read.

    Raises:
        LdmError: one is missing, or says what none says; see `check_settings`.
    """
    config = read_json(folder / CONFIG)
    check_settings(config, folder / CONFIG)
    if cls.removesuffix("Fast") not in OWN and config.get("auto_map") is not None:
        raise LdmError(f"{folder / CONFIG} names code of its own (auto_map), which is not run.")
    for name in TABLES:
        if (folder / name).exists():
            read_json(folder / name)
    own = OWN.get(cls.removesuffix("Fast"), (TOKENIZER,))
    missing = [name for name in own if not (folder / name).is_file()]
    if missing and not (folder / TOKENIZER).is_file():
        raise LdmError(
            f"{folder} has no vocabulary: neither {TOKENIZER} nor {' and '.join(own)}.", LOOK
        )


def check_settings(config: Mapping[str, Any], file: Path) -> None:
    """See that a tokenizer's config chooses no other file, and that its numbers can be meant.

    Raises:
        LdmError: it does, or cannot.
    """
    for key in FILES:
        if config.get(key) is not None and (
            not isinstance(config[key], str) or not (file.parent / Path(config[key]).name).is_file()
        ):
            raise LdmError(
                f"{file} says {key} = {config[key]!r}, which is not followed.", f"take {key} out."
            )
    extra = config.get(EXTRA, 0)
    if type(extra) is not int or not 0 <= extra <= MOST_EXTRA:
        raise LdmError(
            f"{file}: {EXTRA} should be a number of tokens from 0 to {MOST_EXTRA}, not {extra!r}."
        )
    length = config.get("model_max_length")
    endless = isinstance(length, float) and length > 2**31  # as Transformers writes no limit
    if length is not None and not endless and not (type(length) is int and length >= 3):
        raise LdmError(
            f"{file}: model_max_length should be a whole number of tokens, 3 at least, not "
            f"{length!r}."
        )


def read_tokenizer(cls: Any, folder: Path, what: str) -> Any:
    """A tokenizer, once it has turned a text into tokens as it will be asked to.

    Args:
        what: the tokenizer, for messages.
    Raises:
        LdmError: it cannot be read, has no vocabulary, or does not do that.
    """
    check_files(folder, cls.__name__)
    with reading(what, LOOK), quiet():
        tokenizer = cls.from_pretrained(folder, local_files_only=True)
        empty = len(tokenizer.get_vocab()) <= len(tokenizer.added_tokens_decoder)
        tokens = tokenizer(
            ["a", ""],
            padding="max_length",
            max_length=8,
            truncation=True,
            return_offsets_mapping=cls.__name__ not in SLOW,
            return_tensors="pt",
        )
        shape = tuple(tokens.input_ids.shape)
    if empty:
        raise LdmError(f"{what} has an empty vocabulary.", LOOK)
    if shape != (2, 8) or int(tokens.input_ids.min()) < 0:
        raise LdmError(f"{what} does not fill a window of 8 tokens.", LOOK)
    return tokenizer


def check_numbers(encoder: Part, tokenizer: Any, what: str) -> None:
    """See that a text encoder knows every token that its tokenizer gives.

    Raises:
        LdmError: the tokenizer is of another encoder.
    """
    config = encoder.module.config.to_dict()
    size = config.get("text_config", config).get("vocab_size")
    last = max(tokenizer.get_vocab().values())
    if isinstance(size, int) and last >= size:
        raise LdmError(
            f"{what} gives tokens up to number {last}, and its text encoder knows {size}.",
            "the two are of different models.",
        )
