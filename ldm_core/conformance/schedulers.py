"""What a scheduler must do, measured on Gaussian data."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ldm_core.conformance.gaussian import SCHEDULES, GaussianData
from ldm_core.conformance.moments import DATA, moment_errors
from ldm_core.contracts import Grid, Noise, Scheduler, Walk, as_scheduler
from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import CLEAN, Point

VP = SCHEDULES["vp"]
STEPS = (128, 256, 512, 1024)
QUIET_STEPS, NOISY_STEPS = (128, 512), (48, 144)
DEVIATIONS = (0.3, 0.5, 0.7, 0.9)


def even_grid(schedule: NoiseSchedule, steps: int) -> Grid:
    """Evenly in the timestep, from the path's noisiest point (alpha = 0 on flow) to a tenth.

    The end keeps noise, so that the error of the whole way shows in it.
    """
    start = schedule.last
    end = schedule.first + (schedule.last - schedule.first) / 10
    times = [start + (end - start) * i / steps for i in range(steps + 1)]
    return Grid(map(schedule.at, times), schedule)


def quickening_grid(schedule: NoiseSchedule, steps: int) -> Grid:
    """From the noisiest point to a tenth, the i-th step as long as 2·i - 1 times the first.

    So the first steps, which multistep schedulers make with lower orders, err little, and the
    order of the others shows.
    """
    start = schedule.last
    length = (schedule.last - schedule.first) * 9 / 10
    times = [start - length * (i / steps) ** 2 for i in range(steps + 1)]
    return Grid(map(schedule.at, times), schedule)


def end_error(scheduler: Scheduler | Walk, grid: Grid, data: GaussianData = DATA) -> float:
    """Root mean square error at the end of a deterministic scheduler, against the exact solution.

    The run is in float64, where rounding lies far below the error of the method.
    """
    x = grid[0].alpha * data.mean + data.marginal_std(grid[0]) * _scores()
    end = as_scheduler(scheduler).walk(x, grid, data.denoise, _no_noise)
    return float((end - data.carry(x, grid[0], grid[-1])).square().mean().sqrt())


def errors_by_steps(
    scheduler: Scheduler | Walk,
    schedule: NoiseSchedule = VP,
    steps: Sequence[int] = STEPS,
) -> list[float]:
    """Error at the end of even steps, against the exact solution, for each number of steps."""
    return [end_error(scheduler, even_grid(schedule, n)) for n in steps]


def measured_order(
    scheduler: Scheduler | Walk,
    schedule: NoiseSchedule = VP,
    steps: Sequence[int] = STEPS,
) -> float:
    """The order of convergence: the slope of ln(error) over ln(1/steps), by least squares.

    Args:
        scheduler: a deterministic one; it is given no noise.
    """
    return _slope(errors_by_steps(scheduler, schedule, steps), steps)


def check_order(scheduler: Scheduler | Walk, tolerance: float = 0.3) -> None:
    """See that a scheduler is of the order that it declares, on every path.

    A stochastic one is of the order at which mean and spread of its samples become right, any
    other of that at which it follows the probability-flow ODE. Data are Gaussian, of several
    deviations: where the error for one passes through zero, it does so for none of the others.
    Where such data are kinder than others a path may show a higher order, but not every path.

    Raises:
        AssertionError: it declares none, or another is measured.
    """
    scheduler = as_scheduler(scheduler)
    if scheduler.order is None:
        raise AssertionError("the scheduler declares no order; `of_order(2)` declares two")
    orders = measured_orders(scheduler)
    least = min(orders.values())
    if not abs(least - scheduler.order) < tolerance:
        listed = ", ".join(f"{order:.2f} on the {name} path" for name, order in orders.items())
        raise AssertionError(
            f"the scheduler declares the order {scheduler.order:g}, and is of order {listed}"
        )


def measured_orders(scheduler: Scheduler | Walk) -> dict[str, float]:
    """The order on each kind of path, by its name, as `check_order` measures it."""
    scheduler = as_scheduler(scheduler)
    steps = NOISY_STEPS if scheduler.stochastic else QUIET_STEPS
    orders = {}
    for name, schedule in SCHEDULES.items():
        # a whole number of steps of two and three evaluations, flow's first step aside
        sizes = [n + (name == "flow") for n in steps]
        orders[name] = _slope([_error(scheduler, schedule, n) for n in sizes], sizes)
    return orders


def _error(scheduler: Scheduler, schedule: NoiseSchedule, steps: int) -> float:
    """Over data of several deviations, in the end's moments or in the end itself."""
    errors: list[float] = []
    for std in DEVIATIONS:
        data = GaussianData(std=std)
        if scheduler.stochastic:
            errors += moment_errors(scheduler, even_grid(schedule, steps), data=data)
        else:
            errors.append(end_error(scheduler, quickening_grid(schedule, steps), data))
    return math.hypot(*errors)


def _slope(errors: Sequence[float], steps: Sequence[int]) -> float:
    """Of ln(error) over ln(1/steps), by least squares."""
    xs = [math.log(n) for n in steps]
    ys = [-math.log(error) for error in errors]
    x_mean, y_mean = sum(xs) / len(xs), sum(ys) / len(ys)
    slope = sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True))
    return slope / sum((x - x_mean) ** 2 for x in xs)


def check_constant_x0(scheduler: Scheduler | Walk, value: float = 0.3) -> None:
    """See that a network that is always sure of one x0 is given just that, on every path.

    Raises:
        AssertionError: the end differs from it, or is not finite.
    """
    walk = as_scheduler(scheduler).walk
    for name, schedule in SCHEDULES.items():
        for steps in (1, 2, 3, 10):
            grid = Grid([*_from_the_end(schedule, steps), CLEAN], schedule)
            x = grid[0].sigma * _scores()
            target = torch.full_like(x, value)

            def denoise(x: Tensor, point: Point, target: Tensor = target) -> Tensor:
                return target

            end = walk(x, grid, denoise, _noise_like(x))
            worst = float((end - value).abs().max())
            if not worst < 1e-5:
                raise AssertionError(
                    f"on the {name} path with {steps} steps the end is {worst:.2g} away from the "
                    "x0 that the denoiser always returned"
                )


def check_distribution(
    scheduler: Scheduler | Walk,
    schedule: NoiseSchedule,
    steps: int = 500,
    samples: int = 40_000,
) -> tuple[float, float]:
    """Mean and standard deviation of samples of Gaussian data, as their errors in standard errors.

    With so many steps the method's own error is below the statistical one; a correct sampler
    gives two numbers that are rarely beyond 4.
    """
    data = GaussianData()
    grid = even_grid(schedule, steps)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(samples, generator=generator, dtype=torch.float64)
    x = grid[0].alpha * data.mean + data.marginal_std(grid[0]) * x

    def noise() -> Tensor:
        return torch.randn(samples, generator=generator, dtype=torch.float64)

    end = as_scheduler(scheduler).walk(x, grid, data.denoise, noise)
    true_mean, true_std = grid[-1].alpha * data.mean, data.marginal_std(grid[-1])
    mean_error = float(end.mean() - true_mean) / (true_std / math.sqrt(samples))
    std_error = float(end.std() - true_std) / (true_std / math.sqrt(2 * samples))
    return mean_error, std_error


def _from_the_end(schedule: NoiseSchedule, steps: int) -> list[Point]:
    """Evenly in the timestep, from the very noisiest point: alpha = 0 on flow."""
    length = schedule.last - schedule.first
    return [schedule.at(schedule.last - i * length / steps) for i in range(steps)]


def _scores() -> Tensor:
    return torch.linspace(-1.5, 1.5, 7, dtype=torch.float64)


def _no_noise() -> Tensor:
    raise AssertionError("a deterministic scheduler draws no noise")


def _noise_like(x: Tensor) -> Noise:
    generator = torch.Generator().manual_seed(0)
    return lambda: torch.randn(x.shape, generator=generator, dtype=x.dtype)
