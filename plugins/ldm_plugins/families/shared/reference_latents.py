"""Reference pictures as a network sees them: latents, of the sizes that it was trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ldm_core.contracts import Condition, Part, Unequal, concatenate
from ldm_core.errors import LdmError
from ldm_plugins.shared.packed_statistics import SIDE, normalised

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor

KONTEXT_SIZES = (
    *((672, 1568), (688, 1504), (720, 1456), (752, 1392), (800, 1328), (832, 1248)),
    *((880, 1184), (944, 1104), (1024, 1024), (1104, 944), (1184, 880), (1248, 832)),
    *((1328, 800), (1392, 752), (1456, 720), (1504, 688), (1568, 672)),
)
"""Width and height of the pictures that FLUX.1 Kontext was trained on."""
LEAST, STRETCH, MOST = 64, 8, 1024 * 1024
"""Of FLUX.2's reference pictures: the shortest side, its share of the longest, and the pixels."""


class KontextReferences:
    """Ability ``reference`` of FLUX.1 Kontext: the latents of one picture, key ``reference``,
    scaled to the trained size whose shape is nearest to its own.

    Args:
        autoencoder: whose posterior's mean they are.
        patch: side of a token in latent pixels.
        device: where the condition goes.
    """

    def __init__(self, autoencoder: Part, patch: int, device: torch.device) -> None:
        self._autoencoder = autoencoder
        levels = len(autoencoder.module.config.block_out_channels)
        self._unit = 2 ** (levels - 1) * patch
        self._device = device

    def encode(self, references: Sequence[Sequence[Image]]) -> Condition | Unequal:
        """(pictures, channels, height, width); nothing for an image without."""
        return each_once(references, self._of)

    def _of(self, pictures: Sequence[Image]) -> Condition:
        (picture,) = pictures
        width, height = (side - side % self._unit or self._unit for side in picture.size)
        shape = width / height
        _, width, height = min((abs(shape - w / h), w, h) for w, h in KONTEXT_SIZES)
        size = width - width % self._unit, height - height % self._unit
        return {"reference": self._latents(scaled(picture, size)).to(self._device)}

    def _latents(self, picture: Image) -> Tensor:
        config = self._autoencoder.module.config
        z = posterior_mean(self._autoencoder, picture)
        latents: Tensor = (z - (config.shift_factor or 0.0)) * config.scaling_factor
        return latents


def each_once(
    references: Sequence[Sequence[Image]], encode: Callable[[Sequence[Image]], Condition]
) -> Condition | Unequal:
    """The condition of each image's pictures, each set of them encoded once; nothing of none.

    Args:
        encode: what encodes the pictures of one image, as a condition of a single row.
    """
    keys = [tuple(map(id, pictures)) for pictures in references]
    known: dict[tuple[int, ...], Condition] = {(): {}}
    for key, pictures in zip(keys, references, strict=True):
        if key not in known:
            known[key] = encode(pictures)
    each = [known[key] for key in keys]
    if len({tuple((k, tuple(v.shape)) for k, v in one.items()) for one in each}) > 1:
        return Unequal(tuple(each))
    return concatenate(each)


def scaled(picture: Image, size: tuple[int, int]) -> Image:
    """A picture of this width and height."""
    from PIL import Image

    if picture.size == size:
        return picture
    return picture.resize(size, Image.Resampling.LANCZOS)


def posterior_mean(autoencoder: Part, picture: Image) -> Tensor:
    """What an autoencoder makes of a picture, before it is normalised, (1, channels, height, width)
    float32."""
    import numpy as np
    import torch

    unit = np.asarray(picture, dtype=np.float32) / np.float32(255)
    pixels = torch.from_numpy(unit).permute(2, 0, 1)[None] * 2 - 1
    part = autoencoder
    mean: Tensor = part.module.encode(pixels.to(part.device, part.dtype)).latent_dist.mode()
    return mean.float()


class Flux2References:
    """Ability ``reference`` of FLUX.2: the latents of each picture, keys ``reference_0`` and so on,
    shrunk to a million pixels at most and cut to whole tokens.

    Args:
        autoencoder: whose posterior's mean they are.
        device: where the condition goes.
    """

    def __init__(self, autoencoder: Part, device: torch.device) -> None:
        self._autoencoder = autoencoder
        levels = len(autoencoder.module.config.block_out_channels)
        self._unit = 2 ** (levels - 1) * SIDE
        self._device = device

    def encode(self, references: Sequence[Sequence[Image]]) -> Condition | Unequal:
        """Each (pictures, channels, height, width); nothing for an image without."""
        return each_once(references, self._of)

    def _of(self, pictures: Sequence[Image]) -> Condition:
        each = [self._latents(self._cut(picture)) for picture in pictures]
        return {f"reference_{number}": one.to(self._device) for number, one in enumerate(each)}

    def _cut(self, picture: Image) -> Image:
        width, height = picture.size
        if width * height > MOST:
            scale = (MOST / (width * height)) ** 0.5
            picture = scaled(picture, (int(width * scale), int(height * scale)))
        width, height = (side - side % self._unit for side in picture.size)
        left, top = (picture.width - width) // 2, (picture.height - height) // 2
        return picture.crop((left, top, left + width, top + height))

    def _latents(self, picture: Image) -> Tensor:
        return normalised(self._autoencoder, posterior_mean(self._autoencoder, picture))


def check_sides(width: int, height: int) -> None:
    """Raise `LdmError` for a reference picture that FLUX.2 was not trained to see."""
    if min(width, height) < LEAST or max(width, height) > STRETCH * min(width, height):
        raise LdmError(
            f"a reference picture is {width}x{height} pixels; this model sees pictures of {LEAST} "
            f"pixels a side at least, and {STRETCH} times as long as wide at most."
        )
