"""What text encoders share: padded tokens, and what their window cuts off."""

from __future__ import annotations

import re
from collections.abc import Sequence
from threading import Lock
from typing import Any

from ldm_core.contracts.abilities import Span

ONE_AT_A_TIME = Lock()
"""A fast tokenizer keeps padding and truncation as a state of its own, and threads share it."""
SEPARATORS = r"[\s,;|/，。、；：！？（）「」]"
UNSPACED = r"[\u3041-\u30ff\u3105-\u312f\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
"""Letters of scripts that set no space between words: Han and kana."""
WORD_STARTS = re.compile(
    rf"(?<={SEPARATORS})(?!{SEPARATORS})|(?={UNSPACED})|(?<={UNSPACED})(?!{SEPARATORS})"
)
"""Where a prompt can be parted: after spaces, line breaks and commas, and between the letters of
scripts that set no space."""


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
    """The end of the text that a window of so many tokens cuts off; empty where it fits.

    A word that is cut is lost as a whole, unless no window could hold it; see `WORD_STARTS`.
    """
    with ONE_AT_A_TIME:
        tokens = tokenizer(text, truncation=False, verbose=False, return_offsets_mapping=True)
    if len(tokens.input_ids) <= window:
        return ""
    spans = tokens.offset_mapping
    first = spans[window - 1][0]  # the window's last place is for the end token
    last = first + 1 if text[first : first + 1].isspace() else first
    starts = [0, *(match.start() for match in WORD_STARTS.finditer(text))]
    start = max(place for place in starts if place <= last)
    end = min((place for place in starts if place > last), default=len(text))
    length = sum(1 for one, other in spans if one < end and max(one + 1, other) > start)
    fits = length + tokenizer.num_special_tokens_to_add() <= window
    return text[start if fits else first :]
