"""Kinds of Gaussian noise: how the places of one image's noise go together.

Each is linear in white draws, and of unit variance at every place, so that it takes the place of
white noise. A kind is an object that makes the noise of one image of draws from its own stream;
torch is imported where it draws, so that names and options are checked without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Draw = Callable[[Sequence[int]], "Tensor"]
"""``draw(shape)``: the next white noise of one image's stream, float32."""
NoiseKind = Callable[[Draw, Sequence[int]], "Tensor"]
"""``kind(draw, shape)``: noise (1, channels, places, ...) of unit variance."""


@dataclass(frozen=True)
class White:
    """Independent at every place: the noise that models are trained on."""

    def __call__(self, draw: Draw, shape: Sequence[int]) -> Tensor:
        return draw(shape)


@dataclass(frozen=True)
class Blue:
    """Power that rises with the frequency (Ulichney 1988, Dithering with blue noise): fine grain,
    and a mean of zero in each channel."""

    def __call__(self, draw: Draw, shape: Sequence[int]) -> Tensor:
        return _filtered(draw(shape), 0.5)


@dataclass(frozen=True)
class Brownian:
    """Power that falls with the square of the frequency, as that of Brownian motion does: places
    near each other, and frames of a video, are alike. The mean has the power of the lowest
    frequency."""

    def __call__(self, draw: Draw, shape: Sequence[int]) -> Tensor:
        return _filtered(draw(shape), -1.0)


@dataclass(frozen=True)
class Pyramid:
    """White noise and, over it, white noise of half the size, of a quarter, and so on, enlarged by
    linear interpolation (Whitaker 2023, Multi-resolution noise for diffusion model training).

    Attributes:
        discount: standard deviation of each over that of the next larger.
    """

    discount: float = 0.8

    def __post_init__(self) -> None:
        if not 0 < self.discount <= 1:
            raise ValueError(f"its discount lies above 0 and is 1 at most, not {self.discount:g}")

    def __call__(self, draw: Draw, shape: Sequence[int]) -> Tensor:
        import torch

        places = shape[2:]
        total, variance = draw(shape), torch.ones(tuple(places))
        for level in range(1, int(math.log2(max(places, default=1))) + 1):
            share = self.discount**level
            sizes = [math.ceil(n / 2**level) for n in places]
            part, own = draw([*shape[:2], *sizes]), torch.ones(())
            for axis, (few, many) in enumerate(zip(sizes, places, strict=True)):
                matrix = _enlarging(few, many)
                part = (part.movedim(2 + axis, -1) @ matrix.T).movedim(-1, 2 + axis)
                own = own[..., None] * matrix.square().sum(1)
            total, variance = total + share * part, variance + share**2 * own
        return total / variance.sqrt()


NOISE_KINDS: Mapping[str, Callable[..., White | Blue | Brownian | Pyramid]] = {
    "blue": Blue,
    "brownian": Brownian,
    "pyramid": Pyramid,
    "white": White,
}
"""By the name that a recipe gives; the fields of each are its options."""


def _filtered(white: Tensor, power: float) -> Tensor:
    """White noise times this power of the frequency, over all axes but the first two."""
    import torch

    places = tuple(white.shape[2:])
    if max(places, default=1) == 1:
        return white  # it has no frequency but zero
    axes = tuple(range(2, white.ndim))
    noise: Tensor = torch.fft.ifftn(
        torch.fft.fftn(white, dim=axes) * _gains(places, power), dim=axes
    ).real
    return noise


@lru_cache(maxsize=8)
def _gains(places: tuple[int, ...], power: float) -> Tensor:
    """A factor for each frequency, the mean of whose squares is one, so that each place of the
    filtered noise has unit variance."""
    import torch

    squares = torch.zeros(())
    for n in places:
        squares = squares[..., None] + torch.fft.fftfreq(n, dtype=torch.float64).square()
    frequencies = squares.sqrt()
    lowest = frequencies[frequencies > 0].min()
    gains = frequencies.clamp(min=float(lowest) if power < 0 else 0.0) ** power
    return (gains / gains.square().mean().sqrt()).float()


@lru_cache(maxsize=32)
def _enlarging(few: int, many: int) -> Tensor:
    """The matrix (many, few) of linear interpolation, as torch's without aligned corners."""
    import torch

    eye = torch.eye(few)[None]
    return torch.nn.functional.interpolate(eye, size=many, mode="linear")[0].T.contiguous()
