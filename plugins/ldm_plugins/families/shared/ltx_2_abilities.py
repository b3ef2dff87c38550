"""What LTX-2's model does with the latents of a video and of its sound, which are those of a frame
rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Condition, Part, Place, Run
from ldm_core.contracts.abilities import FirstFrameAbility
from ldm_plugins.families.shared.latent_upsampler import LatentUpsampler
from ldm_plugins.shared.video_and_sound import VideoAndSound

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FIRST = "first_frame"


def of_latents(space: VideoAndSound, parts: Mapping[str, Part], place: Place) -> dict[str, Any]:
    """The abilities that see latents, which are those of a frame rate."""
    return {
        "first_frame": FirstFrame(space, parts["transformer"].device),
        "decode_noise": DecodeNoise(space),
        "latent_upsampler": LatentUpsampler(place, parts["vae"], space),
    }


class FirstFrame(FirstFrameAbility):
    """The first frame in the place of the video's, key ``first_frame`` (batch, channels, 1, height,
    width), at the timestep 0.

    Args:
        device: where the condition goes.
    """

    def __init__(self, space: VideoAndSound, device: torch.device) -> None:
        self._space = space
        self._device = device

    def encode(self, run: Run, first: Tensor, last: Sequence[Tensor | None]) -> Condition:
        return {FIRST: self._latents(run, first).to(self._device)}

    def finish(self, run: Run, x: Tensor, first: Tensor) -> Tensor:
        """x with the first frame in it, which the network does not draw."""
        import torch

        both = self._space.split(x)
        frame = self._latents(run, first).to(x)
        video = torch.cat([frame, both.video[:, :, 1:]], dim=2)
        return self._space.join(both._replace(video=video))

    def _latents(self, run: Run, first: Tensor) -> Tensor:
        return self._space.split(run.to_latents(first.unsqueeze(2))).video


class DecodeNoise:
    """Noise in the latents of the video, normalised as they are."""

    def __init__(self, space: VideoAndSound) -> None:
        self._space = space

    def mix(self, x: Tensor, noise: Tensor, scale: float) -> Tensor:
        both, drawn = self._space.split(x), self._space.split(noise)
        return self._space.join(both._replace(video=(1 - scale) * both.video + scale * drawn.video))
