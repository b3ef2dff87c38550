"""Areas of a picture, each with a prompt, as a person gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ldm_core.errors import LdmError, did_you_mean
from ldm_core.values import brief, is_number
from ldm_plugins.conditioning.shared.pictures import read_picture, size_of

if TYPE_CHECKING:
    from ldm_plugins.conditioning.shared.pictures import Array

KEYS = ("prompt", "box", "mask", "weight")
FORM = 'such as {prompt = "a red circle", box = [0, 0, 0.5, 1]}'


@dataclass(frozen=True)
class Area:
    """
    Attributes:
        cover: (height, width) float32 in [0, 1], how much of each pixel the prompt holds for.
    """

    prompt: Any
    cover: Array
    weight: float


def read_areas(value: Any, width: int, height: int) -> list[Area]:
    """The areas of one image; none for None.

    Raises:
        LdmError: an area has no prompt or place, or its place is not in the picture.
    """
    if value is None:
        return []
    entries = value if isinstance(value, list | tuple) else [value]
    return [_read(entry, width, height) for entry in entries]


def _read(entry: Any, width: int, height: int) -> Area:
    if not isinstance(entry, Mapping):
        raise LdmError(f"a region should be a table {FORM}, not {brief(entry)}.")
    for key in entry:
        if key not in KEYS:
            raise LdmError(
                f"a region has no '{key}'.{did_you_mean(str(key), KEYS)} It has {', '.join(KEYS)}."
            )
    if "prompt" not in entry or ("box" in entry) == ("mask" in entry):
        raise LdmError(f"a region needs a prompt, and a box or a mask, {FORM}, not {brief(entry)}.")
    weight = entry.get("weight", 1.0)
    if not is_number(weight) or weight <= 0:
        raise LdmError(f"the weight of a region should be a number above 0, not {brief(weight)}.")
    cover = (
        _box(entry["box"], width, height) if "box" in entry else _mask(entry["mask"], width, height)
    )
    return Area(entry["prompt"], cover, float(weight))


def _box(value: Any, width: int, height: int) -> Array:
    import numpy as np

    if not isinstance(value, Sequence) or len(value) != 4 or not all(map(is_number, value)):
        raise LdmError(
            "the box of a region should be four numbers, left, top, right and bottom, not "
            f"{brief(value)}."
        )
    sides = (width, height, width, height)
    unit = sides if max(value) <= 1 else (1, 1, 1, 1)
    left, top, right, bottom = (
        round(length * one) for length, one in zip(value, unit, strict=True)
    )
    if min(value) < 0 or right > width or bottom > height:
        raise LdmError(
            f"the box {list(value)} of a region lies outside the picture of {width}x{height} "
            "pixels.",
            "a box is left, top, right and bottom, as shares up to 1 or in pixels.",
        )
    if left >= right or top >= bottom:
        raise LdmError(
            f"the box {list(value)} of a region is empty; its right and bottom should lie beyond "
            "its left and top."
        )
    cover = np.zeros((height, width), dtype=np.float32)
    cover[top:bottom, left:right] = 1
    return cover


def _mask(value: Any, width: int, height: int) -> Array:
    picture = read_picture("mask of a region", value, "L", mask=True)
    if picture.shape[:2] != (height, width):
        raise LdmError(
            f"the mask of a region is {size_of(picture)} pixels and {width}x{height} is to be "
            "made; scale the mask, or ask for its size."
        )
    if not picture.any():
        raise LdmError("the mask of a region is empty; paint white where its prompt holds.")
    return picture[..., 0]
