"""Heun++."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from ldm_core.contracts import Denoise, Grid, Noise, of_order, starts_with
from ldm_core.numerics.moves import move
from ldm_core.numerics.point import Point
from ldm_core.numerics.sums import weighted_sum
from ldm_plugins.schedulers.shared.start import karras_start

if TYPE_CHECKING:
    from torch import Tensor

TOLERANCE = 1e-6


@starts_with(karras_start)
@of_order(1)
def heunpp2(x: Tensor, grid: Grid, denoise: Denoise, noise: Noise) -> Tensor:
    """A step by the slopes here, at its end and at the end of the next one, which are looked ahead
    for by Euler's steps; the two ahead are weighed by a third of what their noise is of the first
    point's, and that here by the rest (Carzit's samplers for Stable Diffusion's web page, in
    ComfyUI and k-diffusion's terms; there is no paper).

    The slope is over sigma/alpha, or on a rectified flow over its time. The step before the last
    looks one step ahead alone and halves, the last one is Euler's. Since no weight is that of a
    quadrature the order is one. Three evaluations a step. Of a part of the way, as within
    `switch`, the part's first and last points are taken.
    """
    flow = all(abs(point.alpha + point.sigma - 1) < TOLERANCE for point in grid)
    times = [point.sigma if flow else point.ratio for point in grid]
    longest = next(time for time in times if time < math.inf)
    for i, (here, there) in enumerate(pairwise(grid)):
        x0 = denoise(x, here)
        ahead = move(x, x0, here, there)
        looks = min(len(grid) - 2 - i, 2) if times[i] < math.inf else 0
        if looks == 0:
            x = ahead
            continue
        length = (times[i + 1] - times[i]) * (1.0 if flow else there.alpha)
        slope = _slope(x, x0, here, flow)
        terms, at = [(1.0, ahead)], ahead
        for j in range(1, looks + 1):
            point = grid[i + j]
            x0_ahead = denoise(at, point)
            weight = length * times[i + j] / ((looks + 1) * longest)
            terms += [(weight, _slope(at, x0_ahead, point, flow)), (-weight, slope)]
            if j < looks:
                at = move(at, x0_ahead, point, grid[i + j + 1])
        x = weighted_sum(*terms)
    return x


def _slope(x: Tensor, x0: Tensor, point: Point, flow: bool) -> Tensor:
    alpha = 1.0 if flow else point.alpha
    return weighted_sum((1 / point.sigma, x), (-alpha / point.sigma, x0))
