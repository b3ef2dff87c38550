"""Latents as pictures by a linear map, which costs next to nothing beside a decoder."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ldm_core.contracts import LatentSpace, Run

FIELDS, SIDE, SCALES = 16, 8, (1, 2, 4, 8)
"""Random latents that the map is fitted on: how many, places a side, and places of one value."""
RIDGE = 1e-3
FINEST = 4
"""Pixels a side that one place becomes at most; the decoder may draw more."""


def is_pictures(latents: LatentSpace) -> bool:
    """Whether latents are those of pictures or videos alone, a place for each part of them."""
    names = tuple(name for name in latents.names if name != "frames")
    plain = type(latents).shape is LatentSpace.shape and not latents.beside_each_other
    return plain and names == ("height", "width")


@dataclass(frozen=True)
class LinearPreview:
    """What a decoder draws, nearly: pixels as a linear function of the latents about them.

    It is fitted by least squares on what the decoder itself makes of a few random latents. Of a
    video each of its frames of latents becomes one picture.

    Attributes:
        weights: (9 * latent channels + 1, image channels * finest**2) float64.
        finest: pixels a side that one place becomes.
        seconds: that the decoder took for each place of the latents.
    """

    weights: Tensor
    finest: int
    seconds: float

    @classmethod
    def of(cls, run: Run) -> LinearPreview:
        """The map for the decoder of a run; it decodes `FIELDS` small latents, and draws from
        nothing but a generator of its own.

        Args:
            run: one whose latents are of pictures or videos, see `is_pictures`.
        """
        latents = run.model.info.latents
        places = []
        for axis in latents.axes:
            least = 1 if axis.name == "frames" else SIDE
            size = -(-least // axis.unit) * axis.unit
            places.append(min(size, size if axis.most is None else axis.most))
        generator = torch.Generator().manual_seed(0)
        fields = torch.cat(
            [_field(latents.channels, places, SCALES[i % 4], generator) for i in range(FIELDS)]
        )
        since = time.monotonic()
        drawn = run.decode(fields.to(run.device)).data.float().cpu()
        seconds = (time.monotonic() - since) / fields[:, 0].numel()
        if drawn.ndim == 5:  # of a video: the mean of the frames that share a frame of latents
            fields, drawn = fields.mean(2), drawn.mean(2)
        finest = min(FINEST, max(1, drawn.shape[-1] // fields.shape[-1]))
        shape = (fields.shape[-2] * finest, fields.shape[-1] * finest)
        wanted = functional.pixel_unshuffle(functional.adaptive_avg_pool2d(drawn, shape), finest)
        known = _surroundings(fields)
        target = wanted.flatten(2).transpose(1, 2).reshape(-1, wanted.shape[1]).double()
        square = known.T @ known
        square += RIDGE * len(known) * torch.eye(len(square), dtype=torch.float64)
        return cls(torch.linalg.solve(square, known.T @ target), finest, seconds)

    def __call__(self, latents: Tensor) -> Tensor:
        """Pixels (batch, channels, height, width) in [-1, 1], of a video (batch, channels, frames,
        height, width); at most `FINEST` a place and side."""
        x = latents.detach().float().cpu().nan_to_num(0, 0, 0)
        if x.ndim == 5:
            frames = [self(x[:, :, index]) for index in range(x.shape[2])]
            return torch.stack(frames, 2)
        batch, _, height, width = x.shape
        flat = (_surroundings(x) @ self.weights).reshape(batch, height * width, -1)
        fine = flat.transpose(1, 2).reshape(batch, -1, height, width).float()
        return functional.pixel_shuffle(fine, self.finest).clamp(-1, 1)


def _field(channels: int, places: list[int], scale: int, generator: torch.Generator) -> Tensor:
    """Random latents, (1, channels, ...), in squares of one value."""
    few = [size if size == 1 else -(-size // scale) for size in places]
    field = torch.randn(1, channels, *few, generator=generator)
    for dim, size in enumerate(places, start=2):
        field = field.repeat_interleave(-(-size // field.shape[dim]), dim).narrow(dim, 0, size)
    return field


def _surroundings(x: Tensor) -> Tensor:
    """Each place with the eight about it and a one, (batch * places, 9 * channels + 1) float64."""
    around = functional.unfold(functional.pad(x, (1, 1, 1, 1), mode="replicate"), 3)
    rows = around.transpose(1, 2).reshape(-1, around.shape[1]).double()
    return torch.cat([rows, rows.new_ones(len(rows), 1)], 1)
