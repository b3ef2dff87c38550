"""What a scheduler must do, on six paths of which two start where the signal is zero."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ldm_core.conformance import scheduler_ends, scheduler_state  # noqa: F401 - checks too
from ldm_core.conformance.checks import NotApplicable, Subject, check
from ldm_core.conformance.gaussian import SCHEDULES
from ldm_core.conformance.moments import moment_errors
from ldm_core.conformance.schedulers import (
    check_distribution,
    check_order,
    even_grid,
    measured_orders,
)
from ldm_core.conformance.spacings import check_spacing
from ldm_core.conformance.trace import trace
from ldm_core.conformance.walks import (
    DATA,
    SEEDS,
    SHAPE,
    SHAPES,
    Walked,
    apart,
    counted,
    every_path,
    paths_in_words,
    runs,
    seeded,
    smooth,
    unused_answers,
)
from ldm_core.contracts import Scheduler
from ldm_core.errors import LdmError
from ldm_core.numerics.linear_form import NOT_LINEAR
from ldm_core.numerics.point import Point

STEPS = (1, 2, 3, 10, 100, 1000)
USED = 5
CONSTANT = 0.3
NEAR, OWN_NEAR = 1e-5, 1e-2
"""How near a constant x0 is come to; one with points of its own may compute in float32, as another
library's does, whose rounding the first steps amplify."""
ROUNDING = 1e-9
"""Of float64, over a walk."""


@check("scheduler")
def shape_and_type(subject: Subject) -> str:
    """x comes back as a finite float32 tensor of its own shape: of sound, pictures and video."""

    def see(walked: Walked, steps: int) -> None:
        for shape in SHAPES:
            end = walked.run(steps, shape)
            right = (len(SEEDS), *shape)
            assert isinstance(end, Tensor), f"it gives {type(end).__name__}, and x is a tensor"
            assert tuple(end.shape) == right, f"it gives a shape of {tuple(end.shape)} for {right}"
            assert end.dtype == torch.float32, f"it gives {end.dtype} for an x of float32"
            assert bool(end.isfinite().all()), "it gives numbers that are not finite"

    return runs(subject, (1, 2, 5), see)


@check("scheduler")
def float64(subject: Subject) -> str:
    """An x in float64 stays so, and ends where that in float32 does, but for rounding."""
    worst = 0.0

    def see(walked: Walked, steps: int) -> None:
        nonlocal worst
        wide = walked.run(steps, dtype=torch.float64)
        assert wide.dtype == torch.float64, f"it gives {wide.dtype} for an x of float64"
        worst = max(worst, apart(wide, walked.run(steps)))
        assert worst < 3e-3, f"in float32 it ends {worst:.2g} away from where it ends in float64"

    return f"{runs(subject, (5,), see)}, float32 {worst:.1g} away"


@check("scheduler")
def each_image_alone(subject: Subject) -> str:
    """An image does not depend on the others of its batch."""
    worst = 0.0

    def see(walked: Walked, steps: int) -> None:
        nonlocal worst
        together = walked.run(steps, dtype=torch.float64)
        for i, seed in enumerate(SEEDS):
            alone = walked.run(steps, seeds=(seed,), dtype=torch.float64)
            worst = max(worst, apart(alone, together[i : i + 1]))
        assert worst <= ROUNDING, f"alone, an image ends {worst:.2g} away from itself in a batch"

    return f"{runs(subject, (1, 5), see)}, {worst:.1g} away"


@check("scheduler")
def writes_nothing(subject: Subject) -> str:
    """It writes into no tensor that it was given: neither x, nor an estimate, nor noise."""

    def see(walked: Walked, steps: int) -> None:
        given: list[tuple[str, Tensor, Tensor]] = []

        def kept(name: str, tensor: Tensor) -> Tensor:
            given.append((name, tensor, tensor.clone()))
            return tensor

        draw = seeded(SEEDS, SHAPE, torch.float32)
        start = draw() * walked.scheduler.start(
            walked.grid(steps)[0], walked.schedule.at(walked.schedule.last)
        )

        def denoise(x: Tensor, point: Point) -> Tensor:
            return kept("what the denoiser returned", smooth(x, point))

        walked.run(
            steps,
            denoise=denoise,
            noise=lambda: kept("what noise() returned", draw()),
            start=kept("x", start),
        )
        for name, tensor, copy in given:
            assert tensor.equal(copy), f"it writes into {name}"

    return runs(subject, (5,), see)


@check("scheduler")
def constant_x0(subject: Subject) -> str:
    """A network that is always sure of one x0 is given just that."""
    worst = 0.0

    def see(walked: Walked, steps: int) -> None:
        nonlocal worst
        end = walked.run(
            steps,
            dtype=torch.float64,
            denoise=lambda x, point: torch.full_like(x, CONSTANT),
        )
        if walked.grid(steps)[-1].sigma > 0:
            return  # its own points end in noise
        away = float((end - CONSTANT).abs().max())
        worst = max(worst, away if math.isfinite(away) else math.inf)
        near = NEAR if walked.scheduler.points is None else OWN_NEAR
        assert away < near, f"it ends {away:.2g} away from the x0 that it was always told"

    return f"{runs(subject, (1, 2, 3, 10), see)}, {worst:.1g} away"


@check("scheduler")
def order(subject: Subject) -> str:
    """It is of the order of convergence that it declares by `of_order`."""
    scheduler: Scheduler = subject.made()
    if scheduler.order is None:
        raise NotApplicable("it declares no order; `of_order(2)` declares two")
    check_order(scheduler)
    return f"{min(measured_orders(scheduler).values()):.2f}"


@check("scheduler")
def stochastic(subject: Subject) -> str:
    """It draws noise only if it says that it may."""
    scheduler: Scheduler = subject.made()
    drawn = 0

    def see(walked: Walked, steps: int) -> None:
        nonlocal drawn
        own = seeded(SEEDS, SHAPE, torch.float32)
        start = own()

        def noise() -> Tensor:
            nonlocal drawn
            drawn += 1
            return own()

        walked.run(steps, noise=noise, start=start)
        said = walked.scheduler.stochastic
        assert said or not drawn, "it draws noise; let it say so by `stochastic`"

    runs(subject, (5,), see)
    assert drawn or not scheduler.stochastic or subject.plugin.options, (
        "it says that it is stochastic, draws no noise, and has no option by which it would"
    )
    return f"{drawn} draws" if scheduler.stochastic else "draws none"


LEAP = 1e-4
"""So near comes one that is for consistency models, which are right at any number of steps."""


@check("scheduler")
def moments(subject: Subject) -> str:
    """What it ends in has the mean and deviation of Gaussian data: in the limit of many steps with
    a perfect denoiser, or after a few with a perfect consistency model."""
    scheduler: Scheduler = subject.made()
    if scheduler.points is not None:
        raise NotApplicable("it walks points of its own alone")
    worst = 0.0
    for name, schedule in SCHEDULES.items():
        try:
            many = moment_errors(scheduler, even_grid(schedule, 200))
            few = moment_errors(scheduler, even_grid(schedule, 4), lambda p: DATA.solution(p))
        except LdmError:
            continue
        except NOT_LINEAR:
            errors = check_distribution(scheduler, schedule, 200, 4000)
            away = max(map(abs, errors))
            assert away < 6, f"on the {name} path samples are {away:.2g} standard errors away"
            continue
        away, of_leaps = max(map(abs, many)), max(map(abs, few))
        leaps = of_leaps < LEAP
        worst = max(worst, of_leaps if leaps else away)
        assert leaps or away < 0.02, (
            f"on the {name} path mean and deviation of its samples are {many[0]:+.2g} and "
            f"{many[1]:+.2g} off after 200 steps"
        )
    return f"{worst:.1g} off"


@check("scheduler")
def linear(subject: Subject) -> str:
    """It is linear in x, the estimates and the noise, or says by `nonlinear` that it is not."""
    counts: list[int] = []
    for walked in every_path(subject):
        try:
            seen = trace(walked.scheduler, walked.grid(5))
        except LdmError as error:
            if walked.scheduler.linear:
                raise AssertionError(
                    f"{error.message}; one that is not linear says so by `nonlinear`, and is never "
                    "run as one program"
                ) from None
            return "it says that it is not"
        counts.append(len(seen.calls))
    return f"{counts[0]} evaluations in 5 steps"


@check("scheduler")
def steps(subject: Subject) -> str:
    """One step to a thousand, from the noisiest point: it stays finite, and from ten steps on near
    the data; higher orders leap far in fewer."""
    largest = 0.0

    def see(walked: Walked, steps: int) -> None:
        nonlocal largest
        end = walked.run(steps, (1, 4), SEEDS[:1], denoise=DATA.denoise)
        assert bool(end.isfinite().all()), "it gives numbers that are not finite"
        if steps < 10:
            return
        largest = max(largest, float(end.abs().max()))
        assert largest < 20, f"data lie in [-2, 3], and it ends at {largest:.3g}"

    return f"{runs(subject, STEPS, see)}, at most {largest:.2g}"


@check("scheduler")
def start(subject: Subject) -> str:
    """The standard deviation of the first x is about that of noise at the first point."""
    factors: list[float] = []
    for walked in every_path(subject):
        first, last = walked.grid(5)[0], walked.schedule.at(walked.schedule.last)
        scale = walked.scheduler.start(first, last)
        assert 0 < scale < math.inf, f"on the {walked.name} path it starts at {scale}"
        factors.append(scale / math.hypot(first.alpha, first.sigma))
        assert 0.5 < factors[-1] < 2, (
            f"on the {walked.name} path it starts with {scale:.3g}, where noise and data together "
            f"have {math.hypot(first.alpha, first.sigma):.3g}"
        )
    return f"{min(factors):.2f} to {max(factors):.2f} of alpha² + sigma²"


@check("scheduler")
def points(subject: Subject) -> str:
    """It asks the denoiser at points of the path, none beyond the ends of the grid, about an x of
    the batch's shape."""

    def see(walked: Walked, steps: int) -> None:
        denoise, calls = counted(smooth)
        walked.run(steps, denoise=denoise)
        grid = walked.grid(steps)
        assert calls, "it asks the denoiser nothing"
        first, own = calls[0][1], grid[0]
        assert isinstance(first, Point), f"it asks at {first!r}, which is no Point"
        assert first.ratio == own.ratio or math.isclose(first.ratio, own.ratio, rel_tol=1e-2), (
            f"it asks about the first x at sigma/alpha {first.ratio:.4g}, and that x is at "
            f"{own.ratio:.4g}"
        )
        ratios = [point.ratio for point in grid]
        most, least = max(ratios) * (1 + 1e-6), min(ratios) * (1 - 1e-6)
        for x, point, _ in calls:
            assert isinstance(point, Point), f"it asks at {point!r}, which is no Point"
            assert least <= point.ratio <= most, (
                f"it asks at sigma/alpha {point.ratio:.4g}, and the grid goes from "
                f"{grid[0].ratio:.4g} to {grid[-1].ratio:.4g}"
            )
            right = (len(SEEDS), *SHAPE)
            assert tuple(x.shape) == right, f"it asks about an x of {tuple(x.shape)}, not {right}"

    return runs(subject, (1, 2, 5), see)


@check("scheduler")
def answers_used(subject: Subject) -> str:
    """Each answer of the denoiser, which costs what the network costs, is used: another one there
    leads to another end."""
    count = 0
    for walked in every_path(subject)[:1]:
        try:
            count, unused = unused_answers(walked, USED)
        except LdmError as refusal:
            raise NotApplicable(refusal.message) from None
        assert not unused, (
            f"on the {walked.name} path it asks {count} times in {USED} steps, and leaves "
            f"{unused} of the answers unused"
        )
    return f"{count} in {USED} steps"


@check("scheduler")
def own_points(subject: Subject) -> str:
    """Points of its own, in place of a spacing, fall strictly and are as many as were asked."""
    scheduler: Scheduler = subject.made()
    if scheduler.points is None and scheduler.fit is None:
        raise NotApplicable("it walks any grid")
    for walked in every_path(subject):
        if walked.scheduler.points is None:
            raise NotApplicable("it walks any grid")
        check_spacing(walked.scheduler.points)
    return paths_in_words(len(every_path(subject)))
