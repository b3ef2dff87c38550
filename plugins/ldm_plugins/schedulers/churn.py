"""Churn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ldm_core.contracts import Denoise, Grid, Noise, Scheduler, Walk, stochastic
from ldm_core.errors import LdmError
from ldm_plugins.schedulers.shared.renoise import renoise

if TYPE_CHECKING:
    from torch import Tensor

NonNegative = Annotated[float, Field(ge=0)]
MOST = math.sqrt(2) - 1


def churn(
    *,
    inner: Scheduler = "heun",  # type: ignore[assignment]
    s_churn: NonNegative = 40.0,
    s_tmin: NonNegative = 0.0,
    s_tmax: NonNegative | None = None,
    s_noise: NonNegative = 1.0,
) -> Scheduler:
    """The stochastic sampler of Karras et al. 2022 (arXiv:2206.00364, Algorithm 2) around a
    scheduler of single steps, such as `heun` or `euler`: before each step noise is added, up to
    sigma·(1 + gamma), and the step leads from there.

    gamma is s_churn over the number of steps, and at most sqrt(2) - 1. Sigma is sigma/alpha. No
    noise is added beyond that of the model's noisiest point. A multistep scheduler begins anew at
    every step, and is of its lowest order here.

    Args:
        inner: the scheduler that steps.
        s_churn: how much noise is added; 0 adds none. The paper's grid search found 30 to 80.
        s_tmin, s_tmax: it is added where sigma is between these; without an upper end where the
            latter is not given.
        s_noise: standard deviation of the noise that is added; slightly above 1, as 1.003 or 1.007
            in the paper, makes up for networks that remove a little too much.
    """
    if s_tmax is not None and not s_tmin <= s_tmax:
        raise LdmError(f"churn needs s_tmin <= s_tmax, not {s_tmin:g} and {s_tmax:g}.")
    until = math.inf if s_tmax is None else s_tmax

    def walk(inner: Walk) -> Walk:
        def churned(x: Tensor, grid: Grid, denoise: Denoise, noise: Noise) -> Tensor:
            gamma = min(s_churn / max(grid.whole_steps, 1), MOST)
            schedule = grid.schedule
            most = schedule.at(schedule.last).ratio

            def scaled() -> Tensor:
                return s_noise * noise()

            for i, here in enumerate(grid[:-1]):
                step = grid[i : i + 2]
                ratio = min(here.ratio * (1 + gamma), most)
                if s_tmin <= here.ratio <= until and here.ratio < ratio < math.inf:
                    noisier = schedule.at_ratio(ratio)
                    x = renoise(x, here, noisier, scaled)
                    step = Grid([noisier, step[1]], schedule, step.before, step.after)
                x = inner(x, step, denoise, noise)
            return x

        return churned

    return stochastic(Scheduler.around("churn", walk, inner))
