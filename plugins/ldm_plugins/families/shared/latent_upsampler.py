"""LTX-2's network that makes the latents of a video larger."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ldm_core.contracts import Part, Place
from ldm_core.contracts.latents import Extent
from ldm_plugins.families.shared.ltx_latents import statistics
from ldm_plugins.families.shared.shared_parts import SharedParts
from ldm_plugins.shared.video_and_sound import Both, VideoAndSound

if TYPE_CHECKING:
    from torch import Tensor

UPSAMPLER = "LTX2LatentUpsamplerModel"


class LatentUpsampler:
    """Ability ``latent_upsampler`` of LTX-2: the video's latents, as its autoencoder has them, by
    the upsampler; the sound stays as it is (HaCohen et al. 2026, arXiv:2601.03233)."""

    def __init__(self, place: Place, autoencoder: Part, space: VideoAndSound) -> None:
        self._parts = SharedParts(place)
        self._autoencoder = autoencoder
        self._space = space

    def enlarged(self, folder: Path, latents: Tensor, extent: Extent) -> Tensor:
        """See `ldm_core.contracts.second_stage.UpsamplingAbility`."""
        space, part = self._space, self._parts.read(folder, UPSAMPLER)
        both = space.split(latents)
        mean, std = statistics(self._autoencoder, latents)
        raw = both.video * std + mean
        large = part.module(raw.to(part.device, part.dtype)).to(latents)
        shape = space.shape(extent)
        beside = shape[0] * shape[1] * shape[2] * space.columns(shape[1], shape[2])
        rest = latents.new_zeros(len(latents), beside - both.sound[0].numel())
        return space.join(Both((large - mean) / std, both.sound, rest))
