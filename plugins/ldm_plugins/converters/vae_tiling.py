"""Large pictures encoded and decoded in tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ldm_core.contracts import Converter, ModelInfo, Part, Phase, PlaceNames
from ldm_core.errors import LdmError
from ldm_core.values import brief
from ldm_plugins.converters.shared.decoding import (
    SIDES,
    check_has_pieces,
    check_has_sides,
    switched,
)
from ldm_plugins.converters.shared.mirrored_tiles import of_two_latents

NAME = "vae_tiling"
LARGEST = 768
"""Pixels of a tile's side at the most, where none is chosen: at 2048 pixels those of 1024, which
SDXL's and Flux's autoencoders were trained on, take more than a quarter of the memory of the
whole."""
UNSAID, USUAL = 32, 512
"""What Diffusers writes into a config where nobody said what an AutoencoderKL was trained on, and
the pixels of a tile's side then. In tiles of 32, pictures fall to pieces."""


def vae_tiling(*, size: int | None = None, overlap: float = 0.25) -> Converter:
    """Encode and decode pictures larger than a tile in tiles that overlap, in the memory of one.

    The tiles are blended where they overlap, and each is normalised by itself, so what is drawn
    differs a little; pictures no larger than a tile are the same. It is Diffusers'
    ``enable_tiling``, on a copy of the autoencoder that shares its weights.

    Args:
        size: pixels of a tile's side. Where nothing is said, what the autoencoder was trained on,
            or 512 where its config does not say that; at most 768, and so many that the overlap is
            a whole number of latents.
        overlap: share of a tile that it has in common with the next, from 0 to 0.9.
    """
    if not 0 <= overlap <= 0.9:
        raise LdmError(f"the overlap of tiles is a share from 0 to 0.9, not {brief(overlap)}.")
    if size is not None and size < 1:
        raise LdmError(f"a tile has at least one pixel, not {brief(size)}.")
    return VaeTiling(size, overlap)


@dataclass(frozen=True)
class VaeTiling(Converter):
    """
    Attributes:
        size: pixels of a tile's side.
        overlap: of neighbours.
        stride: so many pixels a side share one latent.
    """

    size: int | None
    overlap: float
    stride: int = 1
    phase = Phase.COMPILE
    lossless = False

    def fit(self, info: ModelInfo, place: PlaceNames) -> Converter:
        check_has_pieces(info, NAME)
        check_has_sides(info, NAME)
        fitted = VaeTiling(self.size, self.overlap, info.latents.axis("height").stride)
        if self.size is not None:
            fitted.check(self.size)
        return fitted

    def part(self, part: Part) -> Part:
        return switched(part, NAME, self._tile)

    def _largest(self, own: int) -> int:
        """Pixels of the largest tile that fits, up to an autoencoder's own; that one where none
        does."""
        most = min(own, LARGEST)
        return next(filter(self._fits, range(most, self.stride, -1)), most)

    def _fits(self, size: int) -> bool:
        latents = size // self.stride
        shared = latents * self.overlap
        return size % self.stride == 0 and latents >= 2 and shared == int(shared)

    def check(self, size: int) -> None:
        """See that tiles of so many pixels a side, and their steps, are whole numbers of latents;
        Diffusers would join them in the wrong places.

        Raises:
            LdmError: they are not.
        """
        stride = self.stride
        if not self._fits(size):
            raise LdmError(
                f"a tile of {size} pixels a side with an overlap of {self.overlap:g} does not fit "
                f"this model: its side is a multiple of {stride}, at least {2 * stride}, and what "
                f"it shares with the next is one too.",
                f"an overlap of 0.25 goes with a multiple of {4 * stride}.",
            )

    def _tile(self, autoencoder: Any) -> None:
        if _takes_sides(autoencoder):
            self._tile_sides(autoencoder)
            return
        autoencoder.enable_tiling()
        own = int(autoencoder.tile_sample_min_size)
        said = autoencoder.config.get("sample_size") != UNSAID
        size = self.size or self._largest(own if said else USUAL)
        self.check(size)
        if size * self.overlap <= 1 and _is_tiny(autoencoder):
            raise LdmError("tiles of a tiny decoder have an overlap of more than one pixel.")
        autoencoder.tile_overlap_factor = self.overlap
        autoencoder.tile_sample_min_size = size
        stride = self._own_stride(autoencoder)
        autoencoder.tile_latent_min_size = size // stride
        if _is_tiny(autoencoder):  # which takes it from the number of colours
            autoencoder.spatial_scale_factor = stride

    def _own_stride(self, autoencoder: Any) -> int:
        """Pixels a side of an autoencoder's own latents, several of which may make a network's."""
        levels = autoencoder.config.get("block_out_channels")
        return 2 ** (len(levels) - 1) if levels else self.stride

    def _tile_sides(self, autoencoder: Any) -> None:
        """Tiles of an autoencoder whose class takes a tile's sides apart, and how far apart tiles
        begin or which share of them overlaps."""
        from diffusers import AutoencoderKLCogVideoX, AutoencoderKLLTX2Video

        size = self.size or self._largest(int(autoencoder.tile_sample_min_height))
        self.check(size)
        step, shared = size - int(size * self.overlap), self.overlap
        options: dict[str, Any] = {f"tile_sample_min_{side}": size for side in SIDES}
        if isinstance(autoencoder, AutoencoderKLCogVideoX):
            options |= {f"tile_overlap_factor_{side}": shared for side in SIDES}
        else:
            options |= {f"tile_sample_stride_{side}": step for side in SIDES}
        autoencoder.enable_tiling(**options)
        if isinstance(autoencoder, AutoencoderKLLTX2Video):
            autoencoder.__class__ = of_two_latents()


def _takes_sides(autoencoder: Any) -> bool:
    """Whether an autoencoder's class takes the sides of its tiles apart, as those of videos do."""
    import diffusers

    return isinstance(
        autoencoder,
        diffusers.AutoencoderDC
        | diffusers.AutoencoderKLCogVideoX
        | diffusers.AutoencoderKLHunyuanVideo
        | diffusers.AutoencoderKLLTX2Video
        | diffusers.AutoencoderKLLTXVideo
        | diffusers.AutoencoderKLQwenImage
        | diffusers.AutoencoderKLWan,
    )


def _is_tiny(autoencoder: Any) -> bool:
    """Whether an autoencoder is an AutoencoderTiny, whose tiles Diffusers blends in another way."""
    from diffusers import AutoencoderTiny

    return isinstance(autoencoder, AutoencoderTiny)
