"""What an observer must do: hear of a run and change nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from ldm_core.conformance.checks import Subject, check
from ldm_core.conformance.gaussian import SCHEDULES
from ldm_core.conformance.grounds import Ground, toys
from ldm_core.conformance.traces import untouched
from ldm_core.conformance.walks import SEEDS, seeded, smooth
from ldm_core.contracts import Grid, Observer, Step
from ldm_core.numerics.moves import move
from ldm_core.numerics.point import CLEAN

PICTURE = (3, 8, 8)
"""A latent of the toy models."""


class _Stopped(Exception):
    """What ends a run in the middle."""


@check("observer")
def changes_nothing(subject: Subject) -> str:
    """A run that it hears of is the run that nobody hears of, bit for bit, and what all code of a
    process shares, as torch's own noise, is what it would have been, from before it is opened."""
    alone = _run(_grid(), lambda step: None)
    with _opened(subject, _grid()) as tell:  # what is imported once may change such things once
        heard = _run(_grid(), tell)
    ground = toys(subject)[0]  # whose weights are drawn
    with untouched("from before it is opened"), _opened(subject, _grid(), ground) as tell:
        again = _run(_grid(), tell)
    assert heard.equal(alone), "it changes the run that it hears of"
    assert again.equal(alone), "it changes the second run that it hears of"
    return "bit for bit"


@check("observer")
def opens_and_closes(subject: Subject) -> str:
    """It is opened and closed for each run, several in turn and two at once, and of none step."""
    for _ in range(2):
        with _opened(subject, _grid()) as tell:
            _run(_grid(), tell)
    with _opened(subject, _grid()) as outer, _opened(subject, _grid(3)) as inner:
        _run(_grid(), outer)
        _run(_grid(3), inner)
    with _opened(subject, _grid()):
        pass
    return "5 runs"


@check("observer")
def errors_pass(subject: Subject) -> str:
    """What ends a run in the middle goes on through it, and it can hear of the next run."""
    for error in (_Stopped(), KeyboardInterrupt()):
        try:
            with _opened(subject, _grid()) as tell:
                _run(_grid(), tell, stop=error)
        except type(error):
            continue
        else:
            raise AssertionError(f"it swallows {type(error).__name__}, which ends the run")
    with _opened(subject, _grid()) as tell:
        _run(_grid(), tell)
    return "an error and an interrupt"


@check("observer")
def evaluations_anywhere(subject: Subject) -> str:
    """It hears of schedulers that ask twice between two points, and of parts of a grid."""
    with _opened(subject, _grid()) as tell:
        _run(_grid(), tell, times=2)
    with _opened(subject, _grid()) as tell:
        _run(_grid()[2:], tell)
    with _opened(subject, _grid(1)) as tell:
        _run(_grid(1), tell)
    return "twice a step, part of a grid, one step"


def _grid(steps: int = 4) -> Grid:
    schedule = SCHEDULES["vp"]
    points = [schedule.at(schedule.last * (1 - i / steps)) for i in range(steps)]
    return Grid([*points, CLEAN], schedule)


@contextmanager
def _opened(
    subject: Subject, grid: Grid, ground: Ground | None = None
) -> Iterator[Callable[[Step], None]]:
    """What hears of one run along a grid, of three images of a toy model.

    Args:
        ground: with that model, where it is made already.
    """
    observer: Observer = subject.made()
    if not observer.sees_run:
        with observer.of_walk(grid) as tell:
            yield tell
        return
    ground = ground or toys(subject)[0]
    of_run = observer.of_run(replace(ground.start().run, grid=grid))
    try:
        yield of_run.step
    except BaseException as error:
        of_run.fail(error)
        raise
    of_run.finish(ground.pipe.output(ground.draw(), ground.plan().request))


def _run(
    grid: Grid,
    tell: Callable[[Step], None],
    times: int = 1,
    stop: BaseException | None = None,
) -> Tensor:
    """DDIM on a smooth denoiser.

    Args:
        times: how often the denoiser is asked at each point.
        stop: raised after the second step.
    """
    assert callable(tell), "its context manager gives nothing that can be told of a step"
    x, calls = seeded(SEEDS, PICTURE, torch.float32)(), 0
    for i, (here, there) in enumerate(pairwise(grid)):
        for _ in range(times):
            x0 = smooth(x, here)
            tell(Step(calls, i, here, x, x0))
            calls += 1
        x = move(x, x0, here, there)
        if stop is not None and i == 1:
            raise stop
    return x
