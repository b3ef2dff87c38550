"""``ldm outpaint``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from PIL import Image
from pydantic import Field

from ldm_core.errors import LdmError
from ldm_core.run.in_batches import in_batches
from ldm_pipelines.inpaint import repaint
from ldm_pipelines.parts import Picture, arguments, channels_of, open_picture

if TYPE_CHECKING:
    from ldm_core.run.output import Output
    from ldm_core.run.pipeline import Pipeline

Pixels = Annotated[int, Field(ge=0)]


@in_batches
def outpaint(
    pipe: Pipeline,
    image: Picture,
    *prompts: str,
    left: Pixels = 0,
    right: Pixels = 0,
    top: Pixels = 0,
    bottom: Pixels = 0,
    strength: float = 1.0,
    paste: bool = True,
    **call: Any,
) -> Iterator[Output]:
    """Paint on beyond the edges of a picture.

    Args:
        image: The picture.
        prompts: What the larger pictures should show.
        left: Pixels to add on the left.
        right: Pixels to add on the right.
        top: Pixels to add at the top.
        bottom: Pixels to add at the bottom.
        strength: Share of the way from noise that is walked, 0 to 1; below 1 the new part starts
            from the pixels at the edge, drawn out.
        paste: Keep the original's pixels bit for bit.
    """
    import numpy as np

    if min(left, right, top, bottom) < 0 or not any((left, right, top, bottom)):
        raise LdmError("say where to paint on: --left, --right, --top or --bottom, in pixels.")
    inner = np.asarray(open_picture(image, channels_of(pipe)))
    margins = ((top, bottom), (left, right))
    colours = ((0, 0),) * (inner.ndim - 2)
    canvas = Image.fromarray(np.pad(inner, (*margins, *colours), mode="edge"))
    painted = np.pad(np.zeros(inner.shape[:2], np.uint8), margins, constant_values=255)
    whole = arguments(pipe, call, prompts)
    return repaint(pipe, canvas, Image.fromarray(painted), strength, paste, whole)
