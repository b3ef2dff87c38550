"""The integrators of torchdiffeq."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ldm_core.contracts import Denoise, Grid, Noise, Scheduler, nonlinear, starts_with
from ldm_core.errors import LdmError, did_you_mean
from ldm_core.numerics.moves import move
from ldm_core.numerics.point import Point
from ldm_plugins.schedulers.shared.start import karras_start

if TYPE_CHECKING:
    from torch import Tensor

FIXED = ("euler", "midpoint", "heun2", "heun3", "rk4")
ADAPTIVE = ("adaptive_heun", "bosh3", "dopri5", "dopri8", "fehlberg2")
UNFIT = {
    "explicit_adams": "takes the steps to be even; 'lms' is the method for uneven ones",
    "implicit_adams": "takes the steps to be even; 'unipc' corrects on uneven ones",
    "fixed_adams": "takes the steps to be even; 'unipc' corrects on uneven ones",
    "scipy_solver": "leaves the device and torch",
}
MAX_STEPS = 10_000  # far more than any tolerance that float32 can meet asks for
Tolerance = Annotated[float, Field(gt=0)]


def torchdiffeq(
    method: str, *, rtol: Tolerance | None = None, atol: Tolerance | None = None
) -> Scheduler:
    """Integrators of torchdiffeq (Chen et al. 2018, arXiv:1806.07366) on the probability-flow ODE.

    ``torchdiffeq:rk4`` and the other fixed methods (euler, midpoint, heun2, heun3) take one step
    from each point of the grid to the next, of one to four evaluations. The adaptive ones
    (adaptive_heun, bosh3, dopri5, dopri8, fehlberg2) choose their own steps between the grid's
    first and last points and call the network as often as they must. Either way the last step, to
    no noise, is one of Euler's. The network is called between trained timesteps.

    The steps of an adaptive method are those that the worst image of a batch needs: within the
    tolerance an image then depends on its neighbours, unless batch_size is 1. There is no table of
    coefficients for `ldm explain`.

    Args:
        rtol: the error allowed at each step of an adaptive method, relative; 0.001 where not set.
        atol: the same, absolute; 0.001 where not set.
    """
    methods = (*FIXED, *ADAPTIVE)
    if method in UNFIT:
        raise LdmError(
            f"torchdiffeq's '{method}' {UNFIT[method]}.", f"There are {', '.join(methods)}."
        )
    if method not in methods:
        raise LdmError(
            f"torchdiffeq has no method '{method}'.{did_you_mean(method, methods)}",
            f"There are {', '.join(methods)}.",
        )
    if method in FIXED and (rtol is not None or atol is not None):
        raise LdmError(
            f"torchdiffeq's '{method}' takes the grid's steps, so it has no rtol and no atol; "
            "num_inference_steps sets how exact it is."
        )
    if find_spec("torchdiffeq") is None:
        raise LdmError(
            f"the scheduler 'torchdiffeq:{method}' needs the package torchdiffeq.",
            "pip install 'ldm-core[ode]' brings it.",
        )
    tolerances = {"rtol": rtol or 1e-3, "atol": atol or 1e-3}

    @nonlinear
    @starts_with(karras_start)
    def integrated(x: Tensor, grid: Grid, denoise: Denoise, noise: Noise) -> Tensor:
        path = grid[:-1] if grid[-1].sigma == 0 else grid
        if len(path) > 1:
            x = _integrate(method, x, path, denoise, tolerances)
        return x if path is grid else move(x, denoise(x, path[-1]), path[-1], grid[-1])

    return integrated


def _integrate(
    method: str, x: Tensor, path: Grid, denoise: Denoise, tolerances: dict[str, float]
) -> Tensor:
    """From the first point of the path to its last, in variables that make it rectified flow.

    With s = sigma/(alpha + sigma) and y = x/(alpha + sigma), y = (1 - s)·x0 + s·noise on any path,
    and dy/ds = (y - x0)/s is finite where alpha is 0 (Liu et al. 2022, arXiv:2209.03003).
    """
    import torch

    if not isinstance(x, torch.Tensor):
        raise LdmError("torchdiffeq integrates tensors alone, so its methods have no table.")
    from torchdiffeq import odeint

    times = torch.tensor([_share(point) for point in path], dtype=x.dtype, device=x.device)
    exact = dict(zip(times.tolist(), path, strict=True))
    first, last = times[0].item(), times[-1].item()

    def slope(time: Tensor, y: Tensor) -> Tensor:
        # A first guess at the step may reach past the end; a jump is asked just beside its place.
        s = min(max(time.item(), last), first)
        point = exact.get(s) or path.schedule.at_ratio(s / (1 - s))
        velocity = (y - denoise(y * (point.alpha + point.sigma), point)) / s
        finite = velocity.isfinite().reshape(len(velocity), -1).all(1)
        if not finite.all():
            # an image that is no number any more rests, and leaves the steps to the others
            lost.logical_or_(~finite)
            velocity[~finite] = 0
        return velocity

    lost = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    options: dict[str, Any] = {}
    if method in ADAPTIVE:
        times = times[[0, -1]]
        options = {"norm": _worst, "step_t": times[-1:], "max_num_steps": MAX_STEPS}
    start: Tensor = x / (path[0].alpha + path[0].sigma)
    try:
        ys = odeint(slope, start, times, method=method, options=options, **tolerances)
    except AssertionError as error:
        raise LdmError(
            f"torchdiffeq's '{method}' gave up: {str(error)[:200]}.",
            "A tolerance that cannot be met is the usual cause; raise rtol and atol.",
        ) from error
    y: Tensor = ys[-1]
    y[lost] = torch.nan
    return y * (path[-1].alpha + path[-1].sigma)


def _share(point: Point) -> float:
    return point.sigma / (point.alpha + point.sigma)


def _worst(error: Tensor) -> Tensor:
    """The greatest root mean square of an image, for tensors of (batch, ...)."""
    return (
        error.flatten(1).square().mean(dim=1).sqrt().max() if error.ndim > 1 else error.abs().max()
    )
