"""Whether a scheduler walks to the very end: a check of `kinds.scheduler`."""

from __future__ import annotations

import math

from torch import Tensor

from ldm_core.conformance.checks import NotApplicable, Subject, check
from ldm_core.conformance.gaussian import GaussianData
from ldm_core.conformance.moments import moment_errors
from ldm_core.conformance.schedulers import end_error
from ldm_core.conformance.walks import Walked, every_path, paths_in_words, smooth
from ldm_core.contracts import Grid, Scheduler
from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import Point

COARSE, FINE = 32, 128
FALLS = 2.0
"""So many times smaller is the error with the finer steps, at least; of order one it is four."""
NARROW = (0.02, 0.05, 0.1)
"""Deviations of data whose details the last steps make."""
QUIETEST = 14.0
"""The log-SNR where the walk ends at most: there is hardly any noise left to see."""
STEPS, LAST = 200, 2


@check("scheduler")
def last_steps(subject: Subject) -> str:
    """It makes the last steps too, where little noise is left: data of small deviation come out
    the more exactly, the more of them there are. Of one that declares no order it is seen that it
    asks the denoiser there."""
    scheduler: Scheduler = subject.made()
    if scheduler.points is not None:
        raise NotApplicable("it only walks points of its own")
    if not scheduler.linear:
        raise NotApplicable("it chooses its steps by what it sees")
    paths, least = every_path(subject), math.inf
    for walked in paths:
        if walked.scheduler.points is not None:
            raise NotApplicable("it only walks points of its own")
        if scheduler.order is None:
            _see_asked(walked)
            continue
        coarse, fine = (_error(walked, steps) for steps in (COARSE, FINE))
        least = min(least, coarse / fine)
        assert coarse >= FALLS * fine, (
            f"on the {walked.name} path, over the last tenth of the timesteps, {FINE} steps err "
            f"{fine:.2g} and {COARSE} steps {coarse:.2g}: it leaves out some of the last ones"
        )
    words = paths_in_words(len(paths))
    return words if scheduler.order is None else f"{words}, {least:.2g} times smaller"


def _last_tenth(schedule: NoiseSchedule, steps: int) -> Grid:
    """Over the last tenth of the timesteps, even in log-SNR; the end keeps a little noise."""
    start = schedule.at(schedule.first + (schedule.last - schedule.first) / 10).half_log_snr
    end = min(schedule.at(schedule.first).half_log_snr, QUIETEST / 2)
    places = (start + (end - start) * i / steps for i in range(steps + 1))
    return Grid([schedule.at_ratio(math.exp(-place)) for place in places], schedule)


def _error(walked: Walked, steps: int) -> float:
    scheduler, grid = walked.scheduler, _last_tenth(walked.schedule, steps)
    errors: list[float] = []
    for std in NARROW:
        data = GaussianData(std=std)
        if scheduler.stochastic:
            errors += moment_errors(scheduler, grid, data=data)
        else:
            errors.append(end_error(scheduler, grid, data))
    return math.hypot(*errors)


def _see_asked(walked: Walked) -> None:
    """See that the denoiser is asked in one of the last two of many steps to the clean end."""
    grid, asked = walked.grid(STEPS), []

    def denoise(x: Tensor, point: Point) -> Tensor:
        asked.append(point.ratio)
        return smooth(x, point)

    walked.run(STEPS, denoise=denoise)
    latest = grid[-1 - LAST].ratio
    assert min(asked) <= latest * (1 + 1e-9), (
        f"on the {walked.name} path it asks the denoiser for the last time at sigma/alpha = "
        f"{min(asked):.3g}, and the last {LAST} of {STEPS} steps begin at {latest:.3g}"
    )
