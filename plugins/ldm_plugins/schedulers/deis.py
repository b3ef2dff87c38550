"""DEIS."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from ldm_core.contracts import Denoise, Grid, Noise
from ldm_core.numerics.point import Point
from ldm_plugins.schedulers.shared.dpmpp_steps import usable_order
from ldm_plugins.schedulers.shared.noise_estimates import lagrange, move_by, noise_in

if TYPE_CHECKING:
    from torch import Tensor


def deis(
    x: Tensor,
    grid: Grid,
    denoise: Denoise,
    noise: Noise,
    *,
    order: Literal[1, 2, 3] = 2,
    lower_order_final: bool = True,
) -> Tensor:
    """Diffusion exponential integrator, multistep in ln(sigma/alpha) (Zhang & Chen 2022,
    arXiv:2204.13902, tAB-DEIS).

    The latest noise estimates are interpolated by a polynomial in ln(sigma/alpha), which is
    integrated over sigma/alpha in closed form. Steps from pure noise, and to none, where the
    logarithm is infinite, are of order one.

    Args:
        order: how many estimates it goes through, 1 to 3; fewer in the first steps.
        lower_order_final: end runs of fewer than 15 steps with order two and one.
    """
    seen: deque[tuple[Point, Tensor]] = deque(maxlen=order)  # newest first
    steps = len(grid) - 1
    for i, (here, there) in enumerate(pairwise(grid)):
        x0 = denoise(x, here)
        known = [(here, noise_in(x, x0, here)), *seen]
        used = usable_order(order, len(known), steps - i, steps, lower_order_final)
        known = known[: used if there.sigma > 0 else 1]
        weights = _weights([-point.half_log_snr for point, _ in known], -there.half_log_snr)
        x = move_by(x, x0, here, there, weights, [estimate for _, estimate in known])
        if here.alpha > 0:
            seen.appendleft(known[0])
    return x


def _weights(nodes: Sequence[float], stop: float) -> list[float]:
    """Mean over exp(u), from the first node u to the stop, of each Lagrange polynomial in u."""
    if len(nodes) == 1:
        return [1.0]
    length = stop - nodes[0]
    weights = []
    for polynomial in lagrange([node - nodes[0] for node in nodes]):
        # By parts: the integral of p·exp is (p - p' + p'' - ...)·exp.
        whole, part = polynomial, polynomial
        for _ in range(len(nodes) - 1):
            part = -part.deriv()
            whole = whole + part
        weights.append(float(whole(length) * math.exp(length) - whole(0.0)) / math.expm1(length))
    return weights
