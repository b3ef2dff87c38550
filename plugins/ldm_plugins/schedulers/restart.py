"""Restart sampling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ldm_core.contracts import Denoise, Grid, Noise, Scheduler, Walk, stochastic
from ldm_core.errors import LdmError
from ldm_plugins.schedulers.shared.renoise import renoise

if TYPE_CHECKING:
    from torch import Tensor

Positive = Annotated[float, Field(gt=0)]


def restart(
    *,
    inner: Scheduler = "heun",  # type: ignore[assignment]
    sigma_min: Positive = 0.1,
    sigma_max: Positive = 2.0,
    restarts: Annotated[int, Field(ge=1, le=100)] = 2,
) -> Scheduler:
    """Restart sampling (Xu et al. 2023, arXiv:2306.14878, Section 3) around another scheduler.

    Once x has come down to sigma_min, noise up to sigma_max is added and that part of the way is
    walked again: the noise makes errors shrink that were made before. Both ends of the interval
    are visited besides the grid's points between them, which costs that many more evaluations
    for each restart. Where the grid starts below sigma_max, the interval starts there too; where it
    never comes down to sigma_min nothing is restarted.

    Args:
        inner: the scheduler that walks.
        sigma_min, sigma_max: the interval, as noise ratios sigma/alpha.
        restarts: how many times the interval is walked again.
    """
    if not sigma_min < sigma_max:
        raise LdmError(f"restart needs sigma_min < sigma_max, not {sigma_min:g} and {sigma_max:g}.")

    def walk(inner: Walk) -> Walk:
        def restarted(x: Tensor, grid: Grid, denoise: Denoise, noise: Noise) -> Tensor:
            first, last = grid[0], grid[-1]
            if not last.ratio < sigma_min < first.ratio:
                return inner(x, grid, denoise, noise)
            schedule = grid.schedule
            low = schedule.at_ratio(sigma_min)
            high = schedule.at_ratio(sigma_max) if sigma_max < first.ratio else first
            above = [point for point in grid if point.ratio > sigma_min]
            again = Grid([high, *(p for p in above if p.ratio < high.ratio), low], schedule)
            x = inner(x, Grid([*above, low], schedule), denoise, noise)
            for _ in range(restarts):
                x = inner(renoise(x, low, high, noise), again, denoise, noise)
            below = [point for point in grid if point.ratio < sigma_min]
            return inner(x, Grid([low, *below], schedule), denoise, noise)

        return restarted

    return stochastic(Scheduler.around("restart", walk, inner))
