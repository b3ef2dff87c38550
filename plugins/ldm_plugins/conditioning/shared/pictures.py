"""Pictures that a person gives: files, PIL images or tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ldm_core.contracts import REQUIRED, Input, ModelInfo, Request
from ldm_core.errors import LdmError
from ldm_core.media.arrays import is_array, read_array
from ldm_core.media.pictures import as_mask, as_mode, open_picture
from ldm_core.values import brief

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    Array = np.ndarray[Any, np.dtype[Any]]

IMAGE = Input(Path, REQUIRED, help="a picture of the size that is made: a file")
"""The input ``image`` of all that start from a picture."""


def check_draws_pictures(name: str, info: ModelInfo) -> None:
    """Raise `LdmError` where a model draws something else than pictures.

    Args:
        name: of the conditioning, which reads pictures of the size that is made.
    """
    if {*info.latents.names} != {"height", "width"}:
        raise LdmError(
            f"the conditioning '{name}' is for models that draw pictures, and '{info.source}' "
            f"(family {info.family}) draws {', '.join(info.latents.names)}."
        )


def mode_of(channels: int) -> str:
    """How pictures of so many channels are read; PIL has those of 1 and 3 alone."""
    return {1: "L", 3: "RGB"}.get(channels, "?" * channels)


def read_picture(name: str, value: Any, mode: str = "RGB", mask: bool = False) -> Array:
    """(height, width, channels) float32 in [0, 1].

    Args:
        name: what to call it in an error.
        mode: ``RGB`` or ``L``, with a letter for each channel, or `mode_of` other channels, which
            only a tensor has.
        mask: it says where something holds; see `ldm_core.media.pictures.as_mask`.
    Raises:
        LdmError: it is no picture, or one of other channels, or holds numbers that are not finite.
    """
    import numpy as np

    channels, pil = len(mode), "?" not in mode
    if isinstance(value, str | Path):
        value = open_picture(value, name)
    if isinstance(value, Image.Image) and not all(value.size):
        raise LdmError(f"the {name} is {value.width}x{value.height} pixels, which is none.")
    if isinstance(value, Image.Image) and pil:
        eight = as_mask(value, name) if mask else as_mode(value, mode, name)
        unit: Array = np.asarray(eight, dtype=np.float32) / np.float32(255)
        return unit.reshape(*unit.shape[:2], channels)
    if not is_array(value):
        forms = "a file, a PIL image, " if pil else ""
        raise LdmError(
            f"the {name} should be {forms}an array (height, width, {channels}) or a tensor "
            f"({channels}, height, width) in [0, 1], not {brief(value)}."
        )
    pixels = read_array(name, value, channels, mask)
    if len(pixels) > 1:
        raise LdmError(
            f"the {name} should be one picture for each image, not {brief(value)}; give several "
            "as a list."
        )
    array: Array = pixels[0].cpu().numpy()
    return array.transpose(1, 2, 0)


def in_eight_bits(name: str, value: Any) -> Image.Image:
    """A picture in red, green and blue of 8 bits each, as the preprocessing of image encoders
    takes it; see `read_picture`."""
    import numpy as np

    values = read_picture(name, value)
    return Image.fromarray((values * 255).round().clip(0, 255).astype(np.uint8))


def several(entry: Any) -> list[Any]:
    """The pictures of one image: one, a list of several, or None for none."""
    if entry is None:
        return []
    return list(entry) if isinstance(entry, list | tuple) else [entry]


def check_size(name: str, picture: Array, request: Request, more: str = "") -> None:
    """Raise `LdmError` for a picture that is not of the size that is to be made."""
    if picture.shape[:2] != (request.height, request.width):
        raise LdmError(
            f"the {name} is {size_of(picture)} pixels and {request.width}x{request.height} is to "
            f"be made; scale the {name}{more}, or ask for its size."
        )


def size_of(picture: Array) -> str:
    """Width and height in words."""
    return f"{picture.shape[1]}x{picture.shape[0]}"


def different(*values: Sequence[Any]) -> Iterable[tuple[Any, ...]]:
    """What images have together, once each: one picture may serve thousands of images."""
    return {tuple(map(id, group)): group for group in zip(*values, strict=True)}.values()


def to_pixels(name: str, values: Sequence[Any], mode: str = "RGB", mask: bool = False) -> Tensor:
    """Pictures of one size as pixels (pictures, channels, height, width) in [0, 1]; see
    `read_picture`."""
    import numpy as np
    import torch

    pictures = {id(value): read_picture(name, value, mode, mask) for value in values}
    batch = np.stack([pictures[id(value)] for value in values])
    return torch.from_numpy(batch).permute(0, 3, 1, 2)


def coverage(masks: Tensor, like: Tensor) -> Tensor:
    """How much of each latent a mask covers: its mean over the pixels that share the latent.

    Args:
        masks: (batch, 1, height, width) in [0, 1].
        like: latents (batch, channels, rows, columns).
    """
    from torch.nn.functional import adaptive_avg_pool2d

    rows, columns = like.shape[-2:]
    return adaptive_avg_pool2d(masks.to(like.device), (rows, columns))
