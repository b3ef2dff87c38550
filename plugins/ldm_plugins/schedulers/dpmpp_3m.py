"""DPM-Solver++(3M)."""

from __future__ import annotations

import math
from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING

from ldm_core.contracts import Denoise, Grid, Noise
from ldm_core.point import Point
from ldm_core.steps import move

if TYPE_CHECKING:
    from torch import Tensor


def dpmpp_3m(x: Tensor, grid: Grid, denoise: Denoise, noise: Noise) -> Tensor:
    """DPM-Solver++ multistep of order three (Lu et al. 2022, arXiv:2211.01095, Section 4.2).

    The first two steps are of order one and two, as is each step that has too few estimates with
    a finite lambda = ln(alpha/sigma). Runs of fewer than 15 steps also end with order two, as
    the paper's Section 6 advises for stability.
    """
    seen: deque[tuple[Point, Tensor]] = deque(maxlen=2)  # the latest estimates, newest first
    steps = len(grid) - 1
    for i, (here, there) in enumerate(pairwise(grid)):
        x0 = denoise(x, here)
        known = [(p, e) for p, e in seen if p.alpha > 0]
        moved = move(x, x0, here, there)
        if known and here.alpha > 0 and there.sigma > 0:
            h = there.half_log_snr - here.half_log_snr
            # Divided differences of x0 in lambda, in units of the step h.
            first = (x0 - known[0][1]) * (h / (here.half_log_snr - known[0][0].half_log_snr))
            if len(known) == 1 or (steps < 15 and i == steps - 2):
                moved = moved - (there.alpha * math.expm1(-h) / 2) * first
            else:
                r0 = (here.half_log_snr - known[0][0].half_log_snr) / h
                r1 = (known[0][0].half_log_snr - known[1][0].half_log_snr) / h
                second = (first - (known[0][1] - known[1][1]) / r1) / (r0 + r1)
                slope = first + r0 * second
                phi_1 = math.expm1(-h) / h + 1
                phi_2 = (math.expm1(-h) + h) / h**2 - 0.5
                moved = moved + there.alpha * (phi_1 * slope - phi_2 * second)
        x = moved
        seen.appendleft((here, x0))
    return x
