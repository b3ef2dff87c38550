"""DPM-Solver with steps of its own choice."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ldm_core.contracts import Denoise, Grid, Noise, nonlinear, starts_with
from ldm_core.errors import LdmError
from ldm_core.numerics.moves import move
from ldm_core.numerics.point import Point
from ldm_plugins.schedulers.shared.start import karras_start

if TYPE_CHECKING:
    from torch import Tensor

Positive = Annotated[float, Field(gt=0)]
NEAR = 1e-5  # in log-SNR, the end is reached
LARGE = 300.0
"""Of the logarithm of a factor: beyond, its arcus tangens is what it is there."""
MOST = 10_000  # steps tried, far more than any tolerance that float32 can meet asks for
NOISY = 1000.0  # the sigma/alpha that pure noise is left for


@nonlinear
@starts_with(karras_start)
def dpm_adaptive(
    x: Tensor,
    grid: Grid,
    denoise: Denoise,
    noise: Noise,
    *,
    order: Literal[2, 3] = 3,
    rtol: Positive = 0.05,
    atol: Positive = 0.0078,
    h_init: Positive = 0.05,
    pcoeff: float = 0.0,
    icoeff: float = 1.0,
    dcoeff: float = 0.0,
    accept_safety: Annotated[float, Field(gt=0, lt=1)] = 0.81,
) -> Tensor:
    """DPM-Solver-12 and -23, which choose their own steps between the grid's first and last points
    (Lu et al. 2022, arXiv:2206.00927, Appendix C; the step sizes by a PID
    controller, as in Crowson's k-diffusion).

    Each step is made with two orders, whose difference is the error; too large a one has the step
    made again, shorter, with one evaluation less. The steps from pure noise (alpha = 0), to a
    thousand times more noise than signal, and to no noise are Euler's. How many evaluations a run
    takes depends on the tolerances, not on the number of steps.

    The steps are those that the worst image of a batch needs: within the tolerance an image then
    depends on its neighbours, unless batch_size is 1. There is no table of coefficients.

    Args:
        order: the higher of the two, 2 or 3; also how many evaluations a step takes.
        rtol, atol: the error allowed at each step, relative and absolute, of x/alpha.
        h_init: the first step, in lambda = ln(alpha/sigma).
        pcoeff, icoeff, dcoeff: the controller's coefficients.
        accept_safety: a step is taken where the next one would be no shorter than by this factor.
    Raises:
        LdmError: a tolerance that cannot be met.
    """
    import torch

    if not isinstance(x, torch.Tensor):
        raise LdmError("dpm_adaptive walks tensors alone, so it has no table.")
    here, end = grid[0], grid[-2] if grid[-1].sigma == 0 else grid[-1]
    if here.alpha == 0 and end.alpha > 0:
        begun = grid.schedule.at_ratio(max(NOISY, grid[1].ratio))
        x, here = move(x, denoise(x, here), here, begun), begun
    if here.ratio > end.ratio:
        control = _Controller(h_init, (pcoeff, icoeff, dcoeff), order, accept_safety)
        x = _adaptive(x, grid, (here, end), denoise, order, (rtol, atol), control)
    return x if end is grid[-1] else move(x, denoise(x, end), end, grid[-1])


def _adaptive(
    x: Tensor,
    grid: Grid,
    ends: tuple[Point, Point],
    denoise: Denoise,
    order: int,
    tolerances: tuple[float, float],
    control: _Controller,
) -> Tensor:
    """From one point to another, both of finite log-SNR, in y = x/alpha."""
    here, end = ends

    def estimate(y: Tensor, point: Point) -> Tensor:
        return denoise(point.alpha * y, point)

    y = before = x / here.alpha
    x0: Tensor | None = None
    for _ in range(MOST):
        left = end.half_log_snr - here.half_log_snr
        if left <= NEAR:
            return end.alpha * y
        there = end
        if control.length < left:
            there = grid.schedule.at_ratio(here.ratio * math.exp(-control.length))
        if there.half_log_snr <= here.half_log_snr:  # a step too short for the numbers
            break
        control.length = min(control.length, left)  # so that a step to the end is not tried twice
        if x0 is None:
            x0 = estimate(y, here)
        step = _step_12 if order == 2 else _step_23
        low, added = step(y, x0, here, there, grid, estimate)
        if control.accepts(_worst(added, low, before, tolerances)):
            y, before, here, x0 = low + added, low, there, None
    raise LdmError(
        f"dpm_adaptive gave up: it tried {MOST} steps, or they became too short to lead anywhere.",
        "A tolerance that cannot be met is the usual cause; raise rtol and atol.",
    )


def _step_12(
    y: Tensor, x0: Tensor, here: Point, there: Point, grid: Grid, estimate: Denoise
) -> tuple[Tensor, Tensor]:
    """The step of order one, and what that of order two adds (arXiv:2206.00927, Eq. 3.7 and
    Algorithm 1), of the estimates themselves: noise estimates, which are those of a large y, would
    cancel."""
    middle = grid.between(here, there)
    bend = (x0 - estimate(_euler(y, x0, here, middle), middle)) / middle.ratio
    return _euler(y, x0, here, there), (there.ratio - here.ratio) * bend


def _step_23(
    y: Tensor, x0: Tensor, here: Point, there: Point, grid: Grid, estimate: Denoise
) -> tuple[Tensor, Tensor]:
    """The step of order two by way of a third, and what that of order three adds
    (arXiv:2206.00927, Algorithm 2)."""
    h = there.half_log_snr - here.half_log_snr
    third, other = (grid.schedule.at_ratio(here.ratio * math.exp(-c * h)) for c in (1 / 3, 2 / 3))
    # What the noise estimates there are more than that here.
    at_third = (x0 - estimate(_euler(y, x0, here, third), third)) / third.ratio
    bend = 2 * other.ratio * (math.expm1(2 / 3 * h) / (2 / 3 * h) - 1) * at_third
    x0_other = estimate(_euler(y, x0, here, other) - bend, other)
    at_other = (x0 - x0_other - bend) / other.ratio
    second = 3 / 2 * (there.ratio - here.ratio) * at_third
    third_order = -3 / 2 * there.ratio * (math.expm1(h) / h - 1) * at_other
    return _euler(y, x0, here, there) + second, third_order - second


def _euler(y: Tensor, x0: Tensor, here: Point, there: Point) -> Tensor:
    kept = there.ratio / here.ratio
    return kept * y + (1 - kept) * x0


def _worst(added: Tensor, low: Tensor, before: Tensor, tolerances: tuple[float, float]) -> float:
    """The greatest root mean square of an image's error, in units of the tolerance; that of an
    image which is no number any more does not count."""
    rtol, atol = tolerances
    allowed = (rtol * low.abs().maximum(before.abs())).clamp(min=atol)
    errors = (added / allowed).reshape(len(low), -1).square().mean(1).sqrt()
    errors = errors[errors.isfinite()]
    return float(errors.max()) if len(errors) else 0.0


class _Controller:
    """Chooses the length of steps from their errors: a PID controller (Söderlind 2003, Digital
    filters in adaptive time-stepping), whose factor is kept near one by an arcus tangens.

    Attributes:
        length: of the next step, in lambda.
    """

    def __init__(
        self, length: float, pid: tuple[float, float, float], order: int, safety: float
    ) -> None:
        p, i, d = pid
        self.length = length
        self._powers = ((p + i + d) / order, -(p + 2 * d) / order, d / order)
        self._safety = safety
        self._inverses: list[float] = []  # of the errors, the latest first

    def accepts(self, error: float) -> bool:
        """Whether a step of this error is taken; the next length follows from it."""
        inverse = 1 / (error + 1e-8)
        before = self._inverses or [inverse, inverse]
        latest = [inverse, *before]
        logs = (power * math.log(e) for e, power in zip(latest, self._powers, strict=True))
        factor = math.exp(max(-LARGE, min(sum(logs), LARGE)))
        factor = 1 + math.atan(factor - 1)
        self.length *= factor
        accepted = factor >= self._safety
        if accepted or not self._inverses:
            self._inverses = latest[:2] if accepted else [inverse, inverse]
        return accepted
