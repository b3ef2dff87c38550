"""A command: a function that becomes a sub-command of ``ldm``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ldm_core.run.in_batches import in_batches

if TYPE_CHECKING:  # importing it costs every command more than a second
    from ldm_core import Output, Pipeline


@in_batches
def compare(pipe: Pipeline, prompt: str, *, schedulers: list[str], **call: Any) -> Iterator[Output]:
    """Draw one prompt by several schedulers.

    Args:
        prompt: What to draw.
        schedulers: Name of a scheduler; repeatable.
    """
    for name in schedulers:
        yield from pipe.replace(scheduler=name).batches(prompt, **call)
