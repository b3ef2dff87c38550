"""SA-Solver."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ldm_core.contracts import Denoise, Grid, Noise, stochastic
from ldm_core.numerics.point import Point
from ldm_core.numerics.sums import weighted_sum
from ldm_plugins.schedulers.shared.dpmpp_steps import first_order
from ldm_plugins.schedulers.shared.exponential_adams import drift

if TYPE_CHECKING:
    from torch import Tensor

Share = Annotated[float, Field(ge=0, le=1)]


@stochastic
def sa_solver(
    x: Tensor,
    grid: Grid,
    denoise: Denoise,
    noise: Noise,
    *,
    predictor_order: Literal[1, 2, 3, 4] = 2,
    corrector_order: Literal[1, 2, 3, 4] = 2,
    tau: Annotated[float, Field(ge=0)] = 1.0,
    start: Share = 0.8,
    stop: Share = 0.2,
    second_order: Literal["exact", "simple"] = "exact",
) -> Tensor:
    """SA-Solver, a stochastic Adams method (Xue et al. 2023, arXiv:2309.05019, Algorithm 1).

    Every evaluation also corrects the step that led to it, with that step's own noise. One
    evaluation a step. The first steps use the estimates there are, and the last ones fewer: the
    last step is of order one, the one before it of order two.

    Args:
        predictor_order: how many estimates a step is predicted by, 1 to 4.
        corrector_order: how many it is corrected by, the one at its end among them, 1 to 4.
        tau: strength of the noise; 0 is the probability-flow ODE, 1 the reverse SDE, which wants
            short steps: at 10 or fewer a lower tau errs less.
        start, stop: noise is drawn between these shares of the trained timesteps, counted from the
            clean end; without noise before and after.
        second_order: how two estimates are weighed; "exact" integrates the line through them,
            "simple" is the authors' and Diffusers' shortcut, which errs more where steps are long.
    """
    history: deque[tuple[Point, Tensor]] = deque(maxlen=max(predictor_order, corrector_order - 1))
    simple = second_order == "simple"
    steps = len(grid) - 1 + grid.after  # of a part, those of the whole way
    length = grid.schedule.last - grid.schedule.first + 1
    left = None  # the last step: x0 apart, its estimates, where it began, how strong
    for i, (here, there) in enumerate(pairwise(grid)):
        x0 = denoise(x, here)
        if left is not None:
            rest, estimates, behind, strength = left
            estimates = [(here, x0), *estimates][: min(corrector_order, steps - i + 2)]
            x = weighted_sum((1.0, rest), *drift(estimates, behind, here, strength, simple))
        strength = tau if stop * length <= here.t <= start * length else 0.0
        kept, weight, fresh = first_order(here, there, strength * strength)
        stirs = strength > 0 and there.sigma > 0
        rest = weighted_sum((kept, x), (fresh, noise())) if stirs else weighted_sum((kept, x))
        if here.alpha == 0 or there.sigma == 0:
            x, left = weighted_sum((1.0, rest), (weight, x0)), None
            continue
        history.appendleft((here, x0))
        used = list(history)[: min(predictor_order, steps - i)]
        x = weighted_sum((1.0, rest), *drift(used, here, there, strength, simple))
        left = rest, list(history), here, strength
    return x
