"""The callables that a scheduler is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ldm_core.numerics.point import Point

if TYPE_CHECKING:
    from torch import Tensor

Denoise = Callable[["Tensor", Point], "Tensor"]
"""``denoise(x, point) -> x0``: the network with its conditioning and guidance."""

Noise = Callable[[], "Tensor"]
"""``noise()`` returns unit Gaussian noise of the latents' shape, from the per-image seeds."""


@dataclass(frozen=True)
class VariancePredicting:
    """A denoiser whose network predicts a variance too.

    Attributes:
        denoise: what answers with x0.
        variance: what the network said of the variance in its latest answer, (batch, ...) like x;
            None before the first.
    """

    denoise: Denoise
    variance: Callable[[], Tensor | None]

    def __call__(self, x: Tensor, point: Point) -> Tensor:
        return self.denoise(x, point)


def learned_variance(denoise: Denoise) -> Tensor | None:
    """What the network said of the variance in its latest answer, (batch, ...) like x.

    It is v of Nichol & Dhariwal 2021 (arXiv:2102.09672, Eq. 15) as the network gives it, in
    [-1, 1] between the two log-variances of Ho et al.; None where the network says nothing.
    """
    return denoise.variance() if isinstance(denoise, VariancePredicting) else None
