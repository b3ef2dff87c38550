"""``ldm image-to-video``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ldm_core.errors import LdmError
from ldm_core.run.in_batches import skipping
from ldm_pipelines.parts import Picture, arguments, conditioned, with_size
from ldm_pipelines.timed import check_makes, fitted_picture, with_seconds

if TYPE_CHECKING:
    from ldm_core.run.output import Output
    from ldm_core.run.pipeline import Pipeline


ABILITIES = ("first_frame", "first_and_last_frame")
"""Of models that are shown with what a video begins."""


@skipping
def image_to_video(
    pipe: Pipeline,
    image: Picture,
    *prompts: str,
    last_frame: Picture | None = None,
    seconds: float | None = None,
    **call: Any,
) -> Iterator[Output]:
    """Make videos that begin with a picture, by a model that takes one.

    Args:
        image: The picture; it is scaled to --size, or to the model's own, and cut to its shape.
        prompts: What happens then, where the model takes a prompt.
        last_frame: A picture with which they end, where the model takes one; scaled likewise.
        seconds: How long they are, as near as the model can; its own length where left out.
    """
    check_makes(pipe, "video", "image-to-video")
    info = pipe.composition.info
    if not info.abilities & {*ABILITIES}:
        raise LdmError(
            f"the model '{info.source}' (family {info.family}) is shown no picture with which a "
            "video begins.",
            "`ldm video-to-video` starts from a video; or take a model that was trained for it.",
        )
    whole = with_seconds(pipe, arguments(pipe, call, prompts), seconds)
    first, size = fitted_picture(pipe, image, whole)
    last = None if last_frame is None else fitted_picture(pipe, last_frame, whole)[0]
    whole = with_size(whole, size).with_inputs(first_frame=first, last_frame=last)
    return conditioned(pipe, "ldm-core:first_frame").batches_of(whole)
