"""DDPM's way from noise to what a network of its own draws beside the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from ldm_core.numerics.noise_schedule import VPSchedule
from ldm_core.numerics.point import CLEAN, Point
from ldm_core.numerics.sums import weighted_sum
from ldm_plugins.shared.ancestral_step import ancestral_step

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class AncestralWalk:
    """Ancestral sampling at even timesteps (Ho et al. 2020, arXiv:2006.11239, Alg. 2).

    Attributes:
        schedule: of the network's training.
        bound: beyond which x0 is cut off; None where it is not.
        leading: the timesteps are the first of as many equal parts; else both trained ends are
            among them.
    """

    schedule: VPSchedule
    bound: float | None
    leading: bool = False

    def points(self, steps: int) -> list[Point]:
        """Those that are visited, and the clean end."""
        last = int(self.schedule.last)
        if self.leading:
            part = (last + 1) // steps
            return [self.schedule.at(part * i) for i in reversed(range(steps))] + [CLEAN]
        times = [round(last * i / (steps - 1)) for i in range(steps)] if steps > 1 else [last]
        return [self.schedule.at(t) for t in reversed(times)] + [CLEAN]

    def __call__(
        self,
        noise: Callable[[], Tensor],
        steps: int,
        denoise: Callable[[Tensor, Point, bool], Tensor],
    ) -> Tensor:
        """What is drawn.

        Args:
            noise: draws unit Gaussian noise of its shape.
            denoise: gives an x0 of x, the point where it lies, and whether the step is the last.
        """
        points = self.points(steps)
        x = noise()
        for here, there in pairwise(points):
            last = there is points[-1]
            x0 = denoise(x, here, last)
            if self.bound is not None:
                x0 = x0.clamp(-self.bound, self.bound)
            step = ancestral_step(here, there)
            x = weighted_sum((step.kept, x), (step.toward, x0))
            if not last:
                x = weighted_sum((1.0, x), (step.deviation, noise()))
        return x
