"""Walks of a scheduler on every kind of path, for checks that look at one thing of them each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ldm_core.conformance.checks import NotApplicable, Subject
from ldm_core.conformance.gaussian import GaussianData
from ldm_core.conformance.spacings import PATHS, PICTURE
from ldm_core.contracts import (
    Denoise,
    Grid,
    LatentSpace,
    ModelInfo,
    Noise,
    Scheduler,
    VariancePredicting,
    as_spacing,
)
from ldm_core.errors import LdmError
from ldm_core.numerics.noise_schedule import FlowSchedule, NoiseSchedule
from ldm_core.numerics.point import CLEAN, Point
from ldm_core.numerics.prediction import as_prediction_type
from ldm_core.numerics.seeded_noise import SeededNoise

DATA = GaussianData()
SEEDS = (11, 12, 13)
SHAPE = (4, 6, 5)
"""Of the latent of a picture, channels first."""
SHAPES = ((4, 16), SHAPE, (3, 2, 6, 5))
"""Of latents of sound, pictures and video."""


@dataclass(frozen=True)
class Walked:
    """A scheduler on one path.

    Attributes:
        name: of the path.
        scheduler: fitted to a model of that path.
    """

    name: str
    schedule: NoiseSchedule
    scheduler: Scheduler

    def grid(self, steps: int) -> Grid:
        """Its own points, or evenly from the noisiest one, where the signal may be zero.

        Raises:
            LdmError: it refuses so many steps.
        """
        own = self.scheduler.points
        if own is not None:
            return Grid(as_spacing(own).points(self.schedule, steps, PICTURE), self.schedule)
        last = self.schedule.last
        length = last - self.schedule.first
        points = [self.schedule.at(last - i * length / steps) for i in range(steps)]
        return Grid([*points, CLEAN], self.schedule)

    def run(
        self,
        steps: int = 5,
        shape: Sequence[int] = SHAPE,
        seeds: Sequence[int] = SEEDS,
        dtype: torch.dtype = torch.float32,
        denoise: Denoise | None = None,
        noise: Noise | None = None,
        start: Tensor | None = None,
    ) -> Tensor:
        """x at the end; the first one is the seeds' noise, as large as the scheduler wants it.

        Raises:
            LdmError: it refuses so many steps.
        """
        grid, drawn = self.grid(steps), seeded(seeds, shape, dtype)
        scale = self.scheduler.start(grid[0], self.schedule.at(self.schedule.last))
        x = drawn() * scale if start is None else start
        asked = with_variance(denoise or smooth, self.scheduler)
        return self.scheduler.walk(x, grid, asked, noise or drawn)


def every_path(subject: Subject) -> list[Walked]:
    """The scheduler on each path that it does not refuse.

    Raises:
        NotApplicable: it refuses all of them.
    """
    walked, reasons = [], {}
    scheduler: Scheduler = subject.made()
    for name, schedule in PATHS.items():
        try:
            one = Walked(name, schedule, scheduler.fitted(info_of(schedule)))
            one.grid(5)
        except LdmError as error:
            reasons[name] = error.message
        else:
            walked.append(one)
    if not walked:
        raise NotApplicable(f"it fits no path: {next(iter(reasons.values()))}")
    return walked


def runs(subject: Subject, steps: Sequence[int], act: Callable[[Walked, int], None]) -> str:
    """Do something for each path and number of steps that the scheduler does not refuse; how many
    paths there were, in words.

    Raises:
        AssertionError: what is wrong, with the path and the number of steps.
        NotApplicable: it refuses all.
    """
    paths, done = every_path(subject), set()
    for walked in paths:
        for n in steps:
            try:
                walked.grid(n)
            except LdmError:
                continue
            try:
                act(walked, n)
            except AssertionError as error:
                raise AssertionError(f"on the {walked.name} path, {n} steps: {error}") from None
            done.add(walked.name)
    if not done:
        raise NotApplicable(f"it takes none of {', '.join(map(str, steps))} steps")
    return paths_in_words(len(done))


def paths_in_words(count: int) -> str:
    """How many of the paths."""
    return f"{count} paths" if count == len(PATHS) else f"{count} of {len(PATHS)} paths"


def info_of(schedule: NoiseSchedule) -> ModelInfo:
    """A model of a path, as a scheduler is fitted to it."""
    flow = isinstance(schedule, FlowSchedule)
    return ModelInfo(
        family="of the test kit",
        source="of the test kit",
        folder=Path(),
        noise_schedule=schedule,
        prediction_type=as_prediction_type("flow" if flow else "epsilon"),
        latents=LatentSpace.of_picture(4, 8),
        default_extent={"height": 512, "width": 512},
        abilities=frozenset(),
        defaults={},
        learned_variance=True,
    )


def smooth(x: Tensor, point: Point) -> Tensor:
    """A denoiser that is smooth, bounded, not linear, and sees each element by itself."""
    return torch.tanh(DATA.denoise(x, point))


def with_variance(denoise: Denoise, scheduler: Scheduler) -> Denoise:
    """A denoiser that predicts a variance too, where a scheduler reads one."""
    if not scheduler.needs_variance:
        return denoise
    latest: list[Tensor] = []

    def asked(x: Tensor, point: Point) -> Tensor:
        latest[:] = [torch.tanh(x) / 2]
        return denoise(x, point)

    return VariancePredicting(asked, lambda: latest[0] if latest else None)


def seeded(seeds: Sequence[int], shape: Sequence[int], dtype: torch.dtype) -> Noise:
    """Noise of each image's own seed."""
    drawn = SeededNoise(seeds, shape, torch.device("cpu"))
    return lambda: drawn().to(dtype)


def apart(one: Tensor, other: Tensor) -> float:
    """The largest difference of two tensors, in float64."""
    return float((one.double() - other.double()).abs().max())


def counted(denoise: Denoise) -> tuple[Denoise, list[tuple[Tensor, Point, Tensor]]]:
    """A denoiser, and what it is asked and answers."""
    calls: list[tuple[Tensor, Point, Tensor]] = []

    def asked(x: Tensor, point: Point) -> Tensor:
        answer = denoise(x, point)
        calls.append((x, point, answer))
        return answer

    return asked, calls


def unused_answers(walked: Walked, steps: int) -> tuple[int, int]:
    """How often a walk asks the denoiser, and how many answers lead nowhere: with another one in
    their place it ends at the same x.

    Raises:
        LdmError: it refuses so many steps.
    """

    def end(place: int | None) -> tuple[Tensor, int]:
        asked = 0

        def denoise(x: Tensor, point: Point) -> Tensor:
            nonlocal asked
            answer = smooth(x, point)
            asked += 1
            return answer + 0.05 if asked - 1 == place else answer

        return walked.run(steps, dtype=torch.float64, denoise=denoise), asked

    base, count = end(None)
    return count, sum(end(place)[0].equal(base) for place in range(count))
