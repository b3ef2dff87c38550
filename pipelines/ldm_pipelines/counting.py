"""How far work on many pictures is, where no run of a pipeline tells it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ldm_core.run.bars import may_show, new_bar

if TYPE_CHECKING:
    from ldm_core.run.pipeline import Pipeline

BAR = "progress_bar"
Advance = Callable[[int], None]
"""``advance(n)``: so many pictures more are done."""


@contextmanager
def counted(total: int, words: str, shown: bool = True) -> Iterator[Advance]:
    """A bar on the standard error stream, or in the notebook, while pictures are worked on; none
    where nobody sees it.

    Args:
        words: what is done.
        shown: somebody wants it.
    """
    if not (shown and may_show()):
        yield lambda count: None
        return
    bar = new_bar(total, words, unit=" pictures")
    try:
        yield bar.update
    finally:
        bar.close()


def wants_bar(pipe: Pipeline) -> bool:
    """Whether a pipeline has the progress bar among its observers."""
    registry = pipe.composition.registry
    bar = registry.find("observer", f"ldm-core:{BAR}")
    names = [one["name"] for one in pipe.recipe.get("observers", []) if isinstance(one, dict)]
    names = [name for name in names if isinstance(name, str)]
    return any(registry.find("observer", name) is bar for name in names)
