"""``ldm text-to-image``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ldm_core.errors import LdmError
from ldm_core.run.in_batches import skipping
from ldm_pipelines.parts import arguments
from ldm_pipelines.timed import check_makes

if TYPE_CHECKING:
    from ldm_core.run.output import Output
    from ldm_core.run.pipeline import Pipeline


@skipping
def text_to_image(pipe: Pipeline, *prompts: str, **call: Any) -> Iterator[Output]:
    """Make pictures of prompts.

    Args:
        prompts: What to draw.
    """
    check_makes(pipe, "image", "text-to-image")
    if not prompts and "prompt" in pipe.composition.inputs:
        raise LdmError("no prompt is given; say what to draw.", 'as in "a red circle"')
    return pipe.batches_of(arguments(pipe, call, prompts))
