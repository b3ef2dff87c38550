"""Repainting a part of a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageOps, UnidentifiedImageError

from ldm_core.contracts import Condition, Conditioning, ModelInfo, Request, Run
from ldm_core.errors import LdmError

if TYPE_CHECKING:
    import numpy as np


def mask() -> Conditioning:
    """Repaint a picture where a mask is white, and keep it elsewhere (Rombach et al. 2022,
    arXiv:2112.10752, Section 4.5).

    Reads an ``image`` and a ``mask`` for each image that is made, both of its size. They are
    files, PIL images, or tensors (channels, height, width) in [0, 1]; only files can be named in
    a manifest.
    """
    return Mask()


@dataclass(frozen=True)
class Mask:
    """
    Attributes:
        factor: so many pixels a side share one latent.
    """

    factor: int = 1
    ability: str = "inpainting"

    def for_model(self, info: ModelInfo) -> Mask:
        return replace(self, factor=info.scale_factor)

    @property
    def inputs(self) -> Mapping[str, Any]:
        return {"image": ..., "mask": ...}

    def check(self, request: Request) -> None:
        given = zip(request.inputs["image"], request.inputs["mask"], strict=True)
        # one picture may serve thousands of images
        for image, painting in {(id(i), id(m)): (i, m) for i, m in given}.values():
            picture, painted = read_picture("image", image), read_mask(painting)
            sizes = [f"{p.shape[1]}x{p.shape[0]}" for p in (picture, painted)]
            if sizes[0] != sizes[1]:
                raise LdmError(
                    f"the image is {sizes[0]} pixels and the mask {sizes[1]}; they should be of "
                    "one size."
                )
            if picture.shape[:2] != (request.height, request.width):
                raise LdmError(
                    f"the image is {sizes[0]} pixels and {request.width}x{request.height} is to be "
                    "made; scale the image and its mask, or ask for their size."
                )
            if not painted.any():
                raise LdmError("the mask is empty; paint white what should be made anew.")
            if not painted[:: self.factor, :: self.factor].any():
                raise LdmError(
                    "the mask is too small: nothing is left of it where "
                    f"{self.factor}x{self.factor} pixels share one latent; paint more of it white."
                )

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition]:
        """``mask`` (batch, 1, height, width) of latents, 1 where to repaint, and the latents
        ``masked_image`` (batch, channels, height, width) of what is kept, on grey."""
        import numpy as np
        import torch

        pictures = np.stack([read_picture("image", image) for image in run.request.inputs["image"]])
        painted = np.stack([read_mask(given) for given in run.request.inputs["mask"]])
        pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2) * 2 - 1
        masks = torch.from_numpy(painted).permute(0, 3, 1, 2).float()
        kept = run.to_latents(pixels * (1 - masks))
        small = torch.nn.functional.interpolate(masks.to(kept.device), size=kept.shape[-2:])
        return {branch: {"mask": small, "masked_image": kept} for branch in branches}


def read_mask(value: Any) -> np.ndarray[Any, Any]:
    """(height, width, 1) booleans, true from middle grey on."""
    painted: np.ndarray[Any, Any] = read_picture("mask", value, "L") >= 0.5
    return painted


def read_picture(name: str, value: Any, mode: str = "RGB") -> np.ndarray[Any, Any]:
    """(height, width, channels) float32 in [0, 1].

    Args:
        name: what to call it in an error.
        mode: ``RGB`` or ``L``, of so many channels.
    Raises:
        LdmError: it is no picture, or one of other channels.
    """
    import numpy as np

    if isinstance(value, str | Path):
        try:
            # a camera may say in the file which side is up
            value = ImageOps.exif_transpose(Image.open(Path(value).expanduser()))
        except UnidentifiedImageError:
            raise LdmError(f"the {name} '{value}' cannot be read: it is no picture.") from None
        except OSError as error:
            reason = error.strerror or str(error)
            raise LdmError(f"the {name} '{value}' cannot be read: {reason}.") from None
    channels = len(mode)
    if isinstance(value, Image.Image):
        array = np.asarray(value.convert(mode), dtype=np.float32) / 255
        return array.reshape(*array.shape[:2], channels)
    shape = tuple(getattr(value, "shape", ()))
    if len(shape) != 3 or shape[0] != channels:
        found = f"of shape {shape}" if shape else repr(value)
        raise LdmError(
            f"the {name} should be a file, a PIL image or a tensor ({channels}, height, width) in "
            f"[0, 1], not {found}."
        )
    array = np.asarray(value.cpu() if hasattr(value, "cpu") else value, dtype=np.float32)
    return array.transpose(1, 2, 0)
