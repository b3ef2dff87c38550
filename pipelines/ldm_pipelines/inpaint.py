"""``ldm inpaint``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from PIL import Image

from ldm_core.errors import LdmError
from ldm_core.run.call import CallArguments
from ldm_core.run.in_batches import in_batches
from ldm_core.values import brief
from ldm_pipelines.parts import (
    Picture,
    arguments,
    channels_of,
    check_fits,
    conditioned,
    open_mask,
    open_picture,
    size_in,
    with_size,
)
from ldm_pipelines.timed import check_makes

if TYPE_CHECKING:
    from ldm_core.run.output import Output
    from ldm_core.run.pipeline import Pipeline

PASTED = "pasted into the original picture where the mask is black"
Box = tuple[int, int, int, int]


@in_batches
def inpaint(
    pipe: Pipeline,
    image: Picture,
    *prompts: str,
    mask: Picture | None = None,
    mask_box: str | Box | None = None,
    strength: float = 1.0,
    paste: bool = True,
    **call: Any,
) -> Iterator[Output]:
    """Repaint a part of a picture; every pixel outside the mask stays as it was.

    Args:
        image: The picture.
        prompts: What the repainted pictures should show.
        mask: A picture of the same size: white where to repaint, black where not.
        mask_box: In place of a mask, the rectangle x0,y0,x1,y1 in pixels, x1 and y1 not in it.
        strength: Share of the way from noise that is walked, 0 to 1; 1 forgets what was there.
        paste: Put the result into the original picture, whose pixels outside the mask then stay
            bit for bit; else the autoencoder may change them a little.
    """
    original = open_picture(image, channels_of(pipe))
    if (mask is None) == (mask_box is None):
        raise LdmError("say what to repaint: a --mask, or a --mask-box, and not both.")
    painted = open_mask(mask) if mask is not None else box_mask(original.size, read_box(mask_box))
    if painted.size != original.size:
        sizes = [f"{i.width}x{i.height}" for i in (original, painted)]
        raise LdmError(
            f"the image is {sizes[0]} pixels and the mask {sizes[1]}; they should be of one size."
        )
    check_makes(pipe, "image", "inpaint")
    whole = arguments(pipe, call, prompts)
    size = size_in(whole)
    if size and size != original.size:
        original = original.resize(size, Image.Resampling.LANCZOS)
        painted = painted.resize(size, Image.Resampling.BILINEAR)
    return repaint(pipe, original, painted, strength, paste, whole)


def repaint(
    pipe: Pipeline,
    original: Image.Image,
    mask: Image.Image,
    strength: float,
    paste: bool,
    call: CallArguments,
) -> Iterator[Output]:
    """A picture with what is white in a mask of its size made anew."""
    check_fits(pipe, original.size)
    if paste and call.output_type != "pil":
        raise LdmError("only PIL images can be pasted; leave out output_type, or paste=False.")
    whole = with_size(call, original.size).with_inputs(image=original, mask=mask, strength=strength)
    outputs = conditioned(pipe, "ldm-core:mask").batches_of(whole)
    return (_pasted(output, original, mask) for output in outputs) if paste else outputs


def _pasted(output: Output, original: Image.Image, mask: Image.Image) -> Output:
    """Pictures put into the original where the mask is white."""
    images = [Image.composite(image, original, mask) for image in output.images]
    manifests = [
        {**m, "title": str(m["inputs"].get("prompt") or "inpainted"), "finish": PASTED}
        for m in output.manifests
    ]
    return replace(output, manifests=manifests, images=images)


def read_box(text: str | Box | None) -> Box:
    """Left, top, right and bottom of ``x0,y0,x1,y1``.

    Raises:
        LdmError: it has another form.
    """
    numbers = text.split(",") if isinstance(text, str) else (text or ())
    try:
        x0, y0, x1, y1 = (int(number) for number in numbers)
    except ValueError:
        raise LdmError(f"a box is four whole numbers x0,y0,x1,y1, not {brief(text)}.") from None
    return x0, y0, x1, y1


def box_mask(size: tuple[int, int], box: Box) -> Image.Image:
    """A mask of this size, white in the box.

    Raises:
        LdmError: the box is empty, or not within the picture.
    """
    x0, y0, x1, y1 = box
    if not (0 <= x0 < x1 <= size[0] and 0 <= y0 < y1 <= size[1]):
        raise LdmError(
            f"the box {x0},{y0},{x1},{y1} should lie within the picture of {size[0]}x{size[1]} "
            "pixels, x0 left of x1 and y0 above y1."
        )
    mask = Image.new("L", size, 0)
    mask.paste(255, box)
    return mask
