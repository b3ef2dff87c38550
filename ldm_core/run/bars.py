"""Bars that say how far something is, on the standard error stream or in a notebook."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ldm_core.contracts import PartInfo
    from ldm_core.contracts.observer import TellPart


def new_bar(total: int | None, words: str | None, *, initial: int = 0, unit: str = "it") -> Any:
    """A bar of tqdm's, in a terminal or a notebook."""
    from tqdm.auto import tqdm

    unknown = _is_of_no_size()
    return tqdm(
        desc=words,
        total=total,
        initial=initial,
        unit=unit,
        leave=False,
        disable=False,
        dynamic_ncols=not unknown,
        ncols=80 if unknown else None,
        nrows=24 if unknown else None,
        file=sys.stderr,
    )


@contextmanager
def reading_bar(parts: Sequence[PartInfo]) -> Iterator[TellPart]:
    """A bar over the parts of a model while they are read, where somebody sees it."""
    if not may_show():
        yield lambda part: None
        return
    bar, begun = new_bar(len(parts) or None, "reading weights", unit=" parts"), [""]

    def tell(part: PartInfo) -> None:
        if begun[-1] != part.name:
            bar.n = len(begun) - 1
            begun.append(part.name)
        bar.set_postfix_str(part.name)

    try:
        yield tell
    finally:
        bar.close()


def _is_of_no_size() -> bool:
    """Whether the stream is a terminal that does not say how large it is; tqdm shows nothing
    there."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns == 0
    except (OSError, ValueError):  # none of the system's
        return False


def may_show() -> bool:
    """Whether somebody sees it; where not, tqdm need not be imported."""
    terminal = sys.stderr is not None and sys.stderr.isatty()
    return terminal or "FORCE_COLOR" in os.environ or "IPython" in sys.modules
