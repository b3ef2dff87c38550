"""The latents of a video and of its sound in one tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from ldm_core.contracts import LatentSpace
from ldm_core.contracts.latents import AtLeastOne, Extent
from ldm_core.errors import LdmError

if TYPE_CHECKING:
    from torch import Tensor


SOUND_PLACES = "sound_places"
"""Key of the condition, (rows, places), whose shape says how many places the sound of x has."""


class Both(NamedTuple):
    """A video's latents, its sound's, and what the tensor holds beside them, which is nothing's.

    Attributes:
        video: (batch, channels, frames, height, width).
        sound: (batch, channels, places, bins).
        rest: (batch, numbers).
    """

    video: Tensor
    sound: Tensor
    rest: Tensor


@dataclass(frozen=True)
class VideoAndSound(LatentSpace):
    """Latents of a video (channels, frames, height, width) to the right of which there are as many
    columns more as its sound needs; the few numbers that it leaves over mean nothing.

    The sound lasts as long as the video does at the rate that it is made at, so that the latents of
    each rate are others, see `at_rate`.

    Attributes:
        sound_channels, sound_bins: of each of the sound's places.
        rate: frames a second.
        sound_rate: places of the sound a second.
    """

    sound_channels: AtLeastOne
    sound_bins: AtLeastOne
    rate: float
    sound_rate: float

    @property
    def beside_each_other(self) -> tuple[str, ...]:
        return ("video", "sound")

    @property
    def follows_rate(self) -> bool:
        return True

    def shape(self, extent: Extent) -> tuple[int, ...]:
        channels, frames, height, width = super().shape(extent)
        return channels, frames, height, width + self.columns(frames, height)

    def extent(self, shape: Sequence[int]) -> dict[str, int]:
        channels, frames, height, width = shape
        own = width - self.columns(frames, height)
        if own < 1:
            raise LdmError(f"latents of the shape {tuple(shape)} hold no video beside its sound.")
        return super().extent((channels, frames, height, own))

    def at_rate(self, frame_rate: float) -> VideoAndSound:
        return replace(self, rate=float(frame_rate))

    def sound_places(self, frames: int) -> int:
        """How many places the sound has beside so many of the video's."""
        return max(round(self.axis("frames").length(frames) / self.rate * self.sound_rate), 1)

    def columns(self, frames: int, height: int) -> int:
        """How many columns of the tensor the sound takes."""
        numbers = self.sound_places(frames) * self.sound_channels * self.sound_bins
        return math.ceil(numbers / (self.channels * frames * height))

    def split(self, x: Tensor) -> Both:
        """What a tensor (batch, channels, frames, height, columns) holds."""
        return self.split_at(x, self.sound_places(x.shape[2]))

    def split_at(self, x: Tensor, places: int) -> Both:
        """What a tensor holds whose sound has so many places."""
        numbers = places * self.sound_channels * self.sound_bins
        columns = math.ceil(numbers / x[0, :, :, :, 0].numel())
        if columns >= x.shape[4]:
            raise LdmError(f"latents of the shape {tuple(x.shape)} hold no video beside its sound.")
        video, beside = x[..., :-columns], x[..., -columns:].flatten(1)
        shape = (len(x), self.sound_channels, places, self.sound_bins)
        return Both(video, beside[:, :numbers].reshape(shape), beside[:, numbers:])

    def join(self, both: Both) -> Tensor:
        """The tensor that holds these; the inverse of `split`."""
        import torch

        video, sound, rest = both
        beside = torch.cat([sound.flatten(1), rest], dim=1)
        return torch.cat([video, beside.view(*video.shape[:4], -1)], dim=4)

    def silent(self, video: Tensor) -> Tensor:
        """The tensor that holds a video's latents, and zeros in the place of the sound."""
        import torch

        columns = self.columns(*video.shape[2:4])
        return torch.cat([video, video.new_zeros(*video.shape[:4], columns)], dim=4)
