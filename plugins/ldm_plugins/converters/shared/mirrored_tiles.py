"""Tiles for a decoder that mirrors what lies at its edges, which a single latent does not have."""

from __future__ import annotations

from copy import copy
from functools import cache
from typing import TYPE_CHECKING, Any

from ldm_core.errors import LdmError

if TYPE_CHECKING:
    from torch import Tensor


def step_of(length: int, tile: int, step: int) -> int:
    """How far apart tiles begin, in latents, so that the last one has two of them or more: the
    given step, or else the next smaller one, or larger one up to a tile's side.

    Raises:
        LdmError: there is none.
    """
    steps: tuple[int, ...] = (*range(step, 1, -1), *range(step + 1, tile + 1))
    for other in steps:
        if length <= tile or length % other != 1:
            return other
    raise LdmError(
        f"vae_tiling: of {length} latents a side, tiles of {tile} leave one alone at the edge, "
        "which this model's decoder cannot decode.",
        "choose a larger size.",
    )


@cache
def of_two_latents() -> type[Any]:
    """LTX-2's autoencoder with such steps, made when diffusers is needed anyway. Its encoder fills
    up with zeros, and takes a single latent."""
    from diffusers import AutoencoderKLLTX2Video

    class Mirrored(AutoencoderKLLTX2Video):  # type: ignore[misc]
        """Decodes in tiles of two latents a side or more."""

        def tiled_decode(self, z: Tensor, *args: Any, **options: Any) -> Any:
            unit = self.spatial_compression_ratio
            rows, columns = z.shape[-2:]
            own = copy(self)  # its steps hold for this call alone
            own.tile_sample_stride_height = unit * step_of(
                rows, self.tile_sample_min_height // unit, self.tile_sample_stride_height // unit
            )
            own.tile_sample_stride_width = unit * step_of(
                columns, self.tile_sample_min_width // unit, self.tile_sample_stride_width // unit
            )
            return AutoencoderKLLTX2Video.tiled_decode(own, z, *args, **options)

    return Mirrored
