"""What a spacing must do."""

from __future__ import annotations

import math

from ldm_core.conformance.checks import NotApplicable, Subject, check
from ldm_core.conformance.spacings import PATHS, PICTURE, check_spacing
from ldm_core.conformance.traces import untouched
from ldm_core.contracts import Spacing
from ldm_core.errors import LdmError
from ldm_core.numerics.point import Point

STEPS = (1, 2, 5, 20, 50)
MANY = 5


@check("spacing")
def well_formed(subject: Subject) -> str:
    """On every path and for every number of steps that it does not refuse, the points are as many
    as were asked, finite, and of strictly falling noise; it passes over no axis of the latent."""
    spacing: Spacing = subject.made()
    check_spacing(spacing)
    grids = _grids(spacing)
    if not grids:
        raise NotApplicable("it refuses every path")
    return f"{len({name for name, _ in grids})} of {len(PATHS)} paths"


@check("spacing")
def repeats(subject: Subject) -> str:
    """The same question gets the same points."""
    spacing: Spacing = subject.made()
    first, again = _grids(spacing), _grids(spacing)
    assert first == again, "asked once more, it gives other points"
    return f"{len(first)} grids"


@check("spacing")
def plain_numbers(subject: Subject) -> str:
    """Points hold Python's own floats, in which coefficients are computed."""
    spacing: Spacing = subject.made()
    for (name, steps), points in _grids(spacing).items():
        for point in points:
            for word, value in (("alpha", point.alpha), ("sigma", point.sigma), ("t", point.t)):
                assert type(value) in (float, int), (
                    f"on the {name} path with {steps} steps {word} is a {type(value).__name__}, "
                    "and should be a Python float"
                )
    return "floats"


@check("spacing")
def on_the_path(subject: Subject) -> str:
    """Its points lie on the noise schedule, within its range, but for the end."""
    spacing: Spacing = subject.made()
    worst = 0.0
    for (name, steps), points in _grids(spacing).items():
        schedule = PATHS[name]
        noisiest = schedule.at(schedule.last).ratio * (1 + 1e-6)
        for point in points[:-1]:
            assert point.t <= schedule.last * (1 + 1e-6), (
                f"on the {name} path with {steps} steps it begins at t = {point.t:.4g}, and the "
                f"schedule's last is {schedule.last:.4g}"
            )
            assert point.ratio <= noisiest, (
                f"on the {name} path with {steps} steps it begins at sigma/alpha "
                f"{point.ratio:.4g}, and the model was trained up to {noisiest:.4g}"
            )
            if math.isfinite(point.ratio) and point.ratio > 0:
                own = schedule.at_ratio(point.ratio)
                size = math.hypot(own.alpha, own.sigma)
                worst = max(
                    worst, abs(own.alpha - point.alpha), abs(own.sigma - point.sigma) / size
                )
        assert worst < 1e-3, (
            f"on the {name} path with {steps} steps a point is {worst:.2g} off the noise schedule"
        )
    return f"{worst:.1g} off"


@check("spacing")
def whole_range(subject: Subject) -> str:
    """With five steps or more it begins in the noisier half of the noise schedule, as x begins as
    noise, and it ends where there is none."""
    spacing: Spacing = subject.made()
    least = 1.0
    for (name, steps), points in _grids(spacing).items():
        assert points[-1].sigma == 0, (
            f"on the {name} path with {steps} steps it ends at sigma {points[-1].sigma:.3g}, and "
            "should end without noise, at CLEAN"
        )
        if steps < MANY:
            continue
        schedule = PATHS[name]
        least = min(least, points[0].t / schedule.last)
        assert least > 0.5, (
            f"on the {name} path with {steps} steps it begins at t = {points[0].t:.4g}, and the "
            f"model is to begin with noise, near t = {schedule.last:.4g}"
        )
    return f"begins at {least:.0%} of the schedule or above"


@check("spacing")
def shared_state(subject: Subject) -> None:
    """It leaves what all code of a process shares as it was: random streams, torch's settings,
    hooks and threads."""
    spacing: Spacing = subject.made()
    with untouched():
        _grids(spacing)


def _grids(spacing: Spacing) -> dict[tuple[str, int], tuple[Point, ...]]:
    """The points on each path and for each number of steps that it does not refuse."""
    grids = {}
    for name, schedule in PATHS.items():
        for steps in STEPS:
            try:
                grids[name, steps] = tuple(spacing.points(schedule, steps, PICTURE))
            except LdmError:
                continue
    return grids
