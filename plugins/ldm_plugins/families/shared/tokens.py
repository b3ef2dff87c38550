"""What text encoders share: padded tokens, and what their window cuts off."""

from __future__ import annotations

import re
from collections.abc import Sequence
from threading import Lock
from typing import Any, Literal

from ldm_core.contracts.abilities import Span

PaddingSide = Literal["left", "right"]
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


def tokenize(
    tokenizer: Any,
    texts: Sequence[str | None],
    window: int,
    device: Any,
    padding_side: PaddingSide | None = None,
) -> Any:
    """``input_ids`` and ``attention_mask`` of the texts, both (texts, window).

    Args:
        texts: None where nothing was said, which is the empty text.
        padding_side: where a short text is padded; the tokenizer's own where None.
    """
    with ONE_AT_A_TIME:
        tokens = tokenizer(
            [text or "" for text in texts],
            padding="max_length",
            max_length=window,
            truncation=True,
            return_tensors="pt",
            padding_side=padding_side,
        )
    return tokens.to(device)


def lengths(mask: Any) -> list[int]:
    """How many tokens of each text are words; all of them where a mask (texts, window) is a shape
    alone, as while memory is planned."""
    counts: list[int] = [mask.shape[1]] * len(mask) if mask.is_meta else mask.sum(dim=1).tolist()
    return counts


def spans(
    tokenizer: Any, text: str, window: int, padding_side: PaddingSide | None = None
) -> list[Span]:
    """The characters (start, end) of the text that each of the window's tokens stands for; an
    empty span for padding and the text's ends. Arguments as of `tokenize`."""
    with ONE_AT_A_TIME:
        tokens = tokenizer(
            text,
            padding="max_length",
            max_length=window,
            truncation=True,
            return_offsets_mapping=True,
            padding_side=padding_side,
        )
    return [(start, end) for start, end in tokens.offset_mapping]


def overflow(tokenizer: Any, text: str, window: int) -> str:
    """The end of the text that a window of so many tokens cuts off; empty where it fits.

    A word that is cut is lost as a whole, unless no window could hold it; see `WORD_STARTS`.
    """
    spans = _all_spans(tokenizer, text)
    if len(spans) <= window:
        return ""
    first = _first_lost(spans, window)
    last = first + 1 if text[first : first + 1].isspace() else first
    starts = [0, *(match.start() for match in WORD_STARTS.finditer(text))]
    start = max(place for place in starts if place <= last)
    end = min((place for place in starts if place > last), default=len(text))
    length = sum(1 for one, other in spans if one < end and max(one + 1, other) > start)
    fits = length + tokenizer.num_special_tokens_to_add() <= window
    return text[start if fits else first :]


def cut(tokenizer: Any, text: str, window: int) -> int:
    """The place of the first letter that a window of so many tokens does not hold; the text's
    length where it holds all."""
    spans = _all_spans(tokenizer, text)
    return len(text) if len(spans) <= window else _first_lost(spans, window)


def _all_spans(tokenizer: Any, text: str) -> list[Span]:
    with ONE_AT_A_TIME:
        tokens = tokenizer(text, truncation=False, verbose=False, return_offsets_mapping=True)
    return [*tokens.offset_mapping]


def _first_lost(spans: Sequence[Span], window: int) -> int:
    start, end = spans[-1]
    # the window's last place is for a token that ends a text and stands for none of its letters
    return spans[window - 1 if start == end else window][0]
