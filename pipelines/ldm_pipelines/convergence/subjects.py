"""What schedulers walk on: a pipeline's model, or Gaussian data, whose solution is known."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from ldm_core.composition.parts import make
from ldm_core.conformance.gaussian import GaussianData
from ldm_core.conformance.walks import with_variance
from ldm_core.contracts import ModelInfo, Plan, Scheduler
from ldm_core.errors import LdmError
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import Point

if TYPE_CHECKING:
    from ldm_core.run.pipeline import Pipeline

DEVIATIONS = (0.3, 0.5, 0.7, 0.9)
"""Of the data: where the error for one passes through zero, it does so for none of the others."""
SCORES = 7


@dataclass(frozen=True)
class Walked:
    """A walk that is done.

    Attributes:
        end: x there, float64 on the CPU.
        evaluations: of the denoiser.
        seconds: of the whole walk.
    """

    end: Tensor
    evaluations: int
    seconds: float


class Subject(Protocol):
    """What is walked on."""

    @property
    def name(self) -> str: ...

    @property
    def schedule(self) -> NoiseSchedule: ...

    def start(self, point: Point) -> Tensor:
        """The x that all walks from a point begin with, where it has next to no signal."""
        ...

    def solution(self, x: Tensor, here: Point, there: Point) -> Tensor | None:
        """Where the probability-flow ODE takes x exactly; None where nobody knows."""
        ...

    def walk(self, named: Named, grid: Grid, x: Tensor) -> Walked:
        """A scheduler's walk along the grid."""
        ...


@dataclass(frozen=True)
class Named:
    """A scheduler that is tried.

    Attributes:
        name: for tables.
        pipe: with it in place of its own.
        notes: what was done to it.
    """

    name: str
    pipe: Pipeline
    notes: tuple[str, ...] = ()

    @property
    def scheduler(self) -> Scheduler:
        """Fitted to the pipeline's model."""
        return self.pipe.composition.scheduler

    def unfitted(self) -> Scheduler:
        """As it is before it is fitted to a model."""
        registry = self.pipe.composition.registry
        part: Scheduler = make("scheduler", self.pipe.recipe["scheduler"], registry, [], {})
        return part


class OnModel:
    """A pipeline's model, for a few images of seeds 0, 1, ...

    x is float64, where the device has it, around a network that computes as it does: so rounding
    of x between steps does not hide how far two walks lie apart.
    """

    def __init__(self, pipe: Pipeline, plan: Plan) -> None:
        self.name = f"the model {pipe.composition.info.source}"
        self._pipe, self._plan = pipe, plan

    @property
    def schedule(self) -> NoiseSchedule:
        return self._pipe.composition.info.noise_schedule

    def start(self, point: Point) -> Tensor:
        request = self._plan.request
        x = self._pipe.noise(request.seeds, request.extent)()
        x = x if x.device.type == "mps" else x.double()
        return x * math.hypot(point.alpha, point.sigma)

    def solution(self, x: Tensor, here: Point, there: Point) -> Tensor | None:
        return None

    def walk(self, named: Named, grid: Grid, x: Tensor) -> Walked:
        sampling = named.pipe.resume(replace(self._plan, grid=grid), x, grid[0], _silent(named))
        evaluations = 0

        def count(step: object) -> None:
            nonlocal evaluations
            evaluations += 1

        since = time.perf_counter()
        end = sampling.walk(x, on_step=count).cpu().double()  # which waits for a GPU
        seconds = time.perf_counter() - since
        if not end.isfinite().all():
            raise LdmError(
                f"'{named.name}' gave numbers that are not finite in {len(grid) - 1} steps."
            )
        return Walked(end, evaluations, seconds)


class OnGaussian:
    """Gaussian data of several deviations, in float64, with the exact denoiser.

    Args:
        info: of the model whose noise schedule it is on, or of a toy.
    """

    def __init__(self, name: str, info: ModelInfo) -> None:
        self.name, self._info = f"Gaussian data, {name}", info
        self._data = [GaussianData(std=std) for std in DEVIATIONS]

    @property
    def schedule(self) -> NoiseSchedule:
        return self._info.noise_schedule

    def start(self, point: Point) -> Tensor:
        scores = torch.linspace(-1.5, 1.5, SCORES, dtype=torch.float64)
        rows = [point.alpha * d.mean + d.marginal_std(point) * scores for d in self._data]
        return torch.stack(rows)

    def solution(self, x: Tensor, here: Point, there: Point) -> Tensor | None:
        carried = [d.carry(row, here, there) for d, row in zip(self._data, x, strict=True)]
        return torch.stack(carried)

    def walk(self, named: Named, grid: Grid, x: Tensor) -> Walked:
        evaluations = 0

        def denoise(x: Tensor, point: Point) -> Tensor:
            nonlocal evaluations
            evaluations += 1
            return torch.stack(
                [data.denoise(row, point) for data, row in zip(self._data, x, strict=True)]
            )

        scheduler = named.unfitted().fitted(self._info)
        asked = with_variance(denoise, scheduler)
        since = time.perf_counter()
        end = scheduler.walk(x, grid, asked, _silent(named))
        return Walked(end, evaluations, time.perf_counter() - since)


def distance(one: Tensor, other: Tensor) -> float:
    """Root mean square of the difference over that of the second."""
    size = float(other.square().mean().sqrt()) or 1.0
    return float((one - other).square().mean().sqrt()) / size


class _silent:
    """Noise that nobody may draw."""

    def __init__(self, named: Named) -> None:
        self._name = named.name

    def __call__(self) -> Tensor:
        raise LdmError(
            f"'{self._name}' draws noise on the way, and so ends elsewhere with each seed: its "
            "distance to one end means nothing.",
            "`ldm plugins show` says whether an option, such as eta, turns the noise off.",
        )
