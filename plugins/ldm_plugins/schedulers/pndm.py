"""PNDM."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from ldm_core.contracts import Denoise, Noise, of_order
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.point import Point
from ldm_plugins.schedulers.ipndm import BASHFORTH
from ldm_plugins.schedulers.shared.noise_estimates import move_by, noise_in

if TYPE_CHECKING:
    from torch import Tensor


@of_order(2)
def pndm(
    x: Tensor,
    grid: Grid,
    denoise: Denoise,
    noise: Noise,
    *,
    warmup: Literal["plms", "runge_kutta"] = "plms",
) -> Tensor:
    """Pseudo numerical methods, linear multistep of order four (Liu et al. 2022, arXiv:2202.09778,
    Algorithm 2).

    The weights are those of even steps in the timestep; over the whole way the order is two. From
    pure noise (alpha = 0) or to none there is no warm-up, and the step is multistep's.

    Args:
        warmup: "plms" makes the first step by Heun's method, the next ones of order two and three,
            one evaluation more than steps (Stable Diffusion's way); "runge_kutta" makes the first
            three by the pseudo Runge-Kutta method of the paper, nine evaluations more than steps.
    """
    history: deque[Tensor] = deque(maxlen=4)  # newest first
    for i, (here, there) in enumerate(pairwise(grid)):
        x0 = denoise(x, here)
        history.appendleft(noise_in(x, x0, here))
        between = here.alpha > 0 and there.sigma > 0
        if between and i < 3 and warmup == "runge_kutta":
            x = _runge_kutta(x, x0, grid, here, there, denoise)
        elif between and i == 0:
            ahead = move_by(x, x0, here, there, (1.0,), history)
            estimates = (history[0], noise_in(ahead, denoise(ahead, there), there))
            x = move_by(x, x0, here, there, (1 / 2, 1 / 2), estimates)
        else:
            x = move_by(x, x0, here, there, BASHFORTH[len(history) - 1], history)
    return x


def _runge_kutta(
    x: Tensor, x0: Tensor, grid: Grid, here: Point, there: Point, denoise: Denoise
) -> Tensor:
    """The classical method of order four on the noise estimate, middle taken in the timestep."""
    middle = grid.schedule.at((here.t + there.t) / 2)
    estimates = [noise_in(x, x0, here)]
    for target in (middle, middle, there):
        trial = move_by(x, x0, here, target, (0.0, 1.0), (estimates[0], estimates[-1]))
        estimates.append(noise_in(trial, denoise(trial, target), target))
    return move_by(x, x0, here, there, (1 / 6, 1 / 3, 1 / 3, 1 / 6), estimates)
