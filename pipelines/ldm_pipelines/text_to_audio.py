"""``ldm text-to-audio``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ldm_core.errors import LdmError
from ldm_core.run.in_batches import skipping
from ldm_pipelines.parts import arguments
from ldm_pipelines.timed import check_makes, with_seconds

if TYPE_CHECKING:
    from ldm_core.run.output import Output
    from ldm_core.run.pipeline import Pipeline


@skipping
def text_to_audio(
    pipe: Pipeline, *prompts: str, seconds: float | None = None, **call: Any
) -> Iterator[Output]:
    """Make sounds of prompts.

    Args:
        prompts: What is heard.
        seconds: How long they are, as near as the model can; its own length where left out.
    """
    check_makes(pipe, "audio", "text-to-audio")
    if not prompts and "prompt" in pipe.composition.inputs:
        raise LdmError("no prompt is given; say what to make.", 'as in "rain on a tin roof"')
    return pipe.batches_of(with_seconds(pipe, arguments(pipe, call, prompts), seconds))
