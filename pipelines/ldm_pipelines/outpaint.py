"""``ldm outpaint``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from PIL import Image
from pydantic import Field

from ldm_core.errors import LdmError
from ldm_core.run.in_batches import in_batches
from ldm_pipelines.inpaint import repaint
from ldm_pipelines.parts import Picture, arguments, channels_of, open_picture, size_in
from ldm_pipelines.timed import check_makes

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
    original = open_picture(image, channels_of(pipe))
    _check_margins(pipe, original, (left, right), (top, bottom))
    inner = np.asarray(original)
    margins = ((top, bottom), (left, right))
    colours = ((0, 0),) * (inner.ndim - 2)
    canvas = Image.fromarray(np.pad(inner, (*margins, *colours), mode="edge"))
    painted = np.pad(np.zeros(inner.shape[:2], np.uint8), margins, constant_values=255)
    check_makes(pipe, "image", "outpaint")
    whole = arguments(pipe, call, prompts)
    _check_size(
        pipe, canvas.size, size_in(whole), {"width": (left, right), "height": (top, bottom)}
    )
    return repaint(pipe, canvas, Image.fromarray(painted), strength, paste, whole)


def _check_margins(
    pipe: Pipeline, image: Image.Image, across: tuple[int, int], down: tuple[int, int]
) -> None:
    """See that a picture with these margins can be held."""
    size = {"width": image.width + sum(across), "height": image.height + sum(down)}
    pipe.composition.check_memory(size)


def _check_size(
    pipe: Pipeline,
    size: tuple[int, int],
    asked: tuple[int, int] | None,
    added: dict[str, tuple[int, int]],
) -> None:
    """See that the model can draw a picture of this size, which the margins alone decide.

    Raises:
        LdmError: it cannot, or another size was asked for.
    """
    sides = {"width": ("left", "right"), "height": ("top", "bottom")}
    here = f"{size[0]}x{size[1]}"
    axes = [pipe.composition.info.latents.axis(axis) for axis in sides]
    flags, whole = [], []
    for axis, side, name in zip(axes, size, sides, strict=True):
        ends = range(side, side + axis.stride * axis.unit)
        end = next((n for n in ends if axis.fits(n)), side)
        whole.append(end)
        first, last = added[name]
        margins = [first, last + end - side] if last or not first else [first + end - side, last]
        flags += [f"--{s} {n}" for s, n in zip(sides[name], margins, strict=True) if n]
    if size != tuple(whole):
        unit = axes[0].stride * axes[0].unit
        raise LdmError(
            f"the picture and what is added make {here} pixels, and width and height must be "
            f"multiples of {unit} for this model.",
            f"{' '.join(flags)} makes it {whole[0]}x{whole[1]}.",
        )
    if asked not in (None, size):
        raise LdmError(
            f"the picture and what is added make {here} pixels, and {asked[0]}x{asked[1]} was "
            "asked for; leave out the size, or add other numbers of pixels."
        )
