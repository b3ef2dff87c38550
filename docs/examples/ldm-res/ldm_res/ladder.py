"""A command: one picture with more and more steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ldm_core.run.in_batches import in_batches

if TYPE_CHECKING:  # importing it costs every command more than a second
    from ldm_core import Output, Pipeline


@in_batches
def ladder(
    pipe: Pipeline, prompt: str, *, counts: list[int] | None = None, **call: Any
) -> Iterator[Output]:
    """Draw one prompt with several numbers of steps, fewest first.

    Args:
        prompt: What to draw.
        counts: A number of steps; repeatable. 5, 10 and 20 where none is given.
    """
    for count in sorted(counts or [5, 10, 20]):
        yield from pipe.batches(prompt, **{**call, "num_inference_steps": count})
