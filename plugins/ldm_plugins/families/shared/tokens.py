"""What text encoders share: padded tokens, and what their window cuts off."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

from ldm_core.contracts.abilities import Span

ONE_AT_A_TIME = Lock()
"""A fast tokenizer keeps padding and truncation as a state of its own, and threads share it."""


def tokenize(tokenizer: Any, texts: Sequence[str | None], window: int, device: Any) -> Any:
    """``input_ids`` and ``attention_mask`` of the texts, both (texts, window).

    Args:
        texts: None where nothing was said, which is the empty text.
    """
    with ONE_AT_A_TIME:
        tokens = tokenizer(
            [text or "" for text in texts],
            padding="max_length",
            max_length=window,
            truncation=True,
            return_tensors="pt",
        )
    return tokens.to(device)


def spans(tokenizer: Any, text: str, window: int) -> list[Span]:
    """The characters (start, end) of the text that each of the window's tokens stands for; an
    empty span for padding and the text's ends."""
    with ONE_AT_A_TIME:
        tokens = tokenizer(
            text,
            padding="max_length",
            max_length=window,
            truncation=True,
            return_offsets_mapping=True,
        )
    return [(start, end) for start, end in tokens.offset_mapping]


def overflow(tokenizer: Any, text: str, window: int) -> str:
    """The end of the text that a window of so many tokens cuts off; empty where it fits."""
    with ONE_AT_A_TIME:
        tokens = tokenizer(text, truncation=False, verbose=False, return_offsets_mapping=True)
    if len(tokens.input_ids) <= window:
        return ""
    # The window's last place is for the end token. A word that is cut is lost as a whole.
    start = tokens.offset_mapping[window - 1][0]
    return text[text.rfind(" ", 0, start + 1) + 1 :]
