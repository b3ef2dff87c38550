"""Spacings: choose the points that a run visits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar

from ldm_core.contracts.latents import LatentShape
from ldm_core.contracts.record import Record, as_record, made, unwrapped
from ldm_core.errors import LdmError
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import Point
from ldm_core.values import brief

LARGEST = 3e38
"""What float32 holds, in which x is kept."""
Choose = Callable[..., Sequence[Point]]
"""``choose(schedule, steps) -> points``: `steps` + 1 of them, strictly less and less noisy, the end
point last. One that depends on how large the picture is takes the latent's shape too:
``choose(schedule, steps, latent)``, see `sees_latent`."""


@dataclass(frozen=True, eq=False)
class Spacing(Record):
    """How points are chosen. A plain function becomes one by `as_spacing`.

    Attributes:
        sees_latent: it is also given the `LatentShape`; it must refuse axes that it does not know.
    """

    takes: ClassVar[tuple[str, ...]] = ("schedule", "steps")

    choose: Choose
    sees_latent: bool = False

    @property
    def arguments(self) -> tuple[str, ...]:
        return (*self.takes, "latent") if self.sees_latent else self.takes

    @property
    def function(self) -> Callable[..., Any]:
        return self.choose

    def with_function(self, function: Callable[..., Any]) -> Spacing:
        return replace(self, choose=function)

    def points(
        self, schedule: NoiseSchedule, steps: int, latent: LatentShape | None
    ) -> Sequence[Point]:
        """The points of a run of so many steps."""
        return self.choose(schedule, steps, *((latent,) if self.sees_latent else ()))


def as_spacing(part: Spacing | Choose) -> Spacing:
    """The record of a spacing; `LdmError` for what cannot be called."""
    return as_record(Spacing, part, "a spacing is a function (schedule, steps)")


def sees_latent(spacing: Spacing | Choose) -> Spacing:
    """Say that a spacing depends on the latent's shape: ``choose(schedule, steps, latent)``."""
    part = unwrapped(spacing)
    if isinstance(part, Spacing):
        return part if part.sees_latent else replace(part, sees_latent=True)
    return made(Spacing, part, sees_latent=True)


def checked(points: Sequence[Point], schedule: NoiseSchedule, spacing: str) -> Grid:
    """A grid of the points, once each is finite, can be computed with, and has less noise than the
    one before.

    Raises:
        LdmError: the spacing gave something else; a run on it would be garbage.
    """
    if not isinstance(points, Sequence) or not all(isinstance(p, Point) for p in points):
        raise LdmError(f"the spacing {spacing} gave {brief(points)}; it should give points.")
    if len(points) < 2:
        raise LdmError(f"the spacing {spacing} gave {len(points)} points; a run needs at least 2.")
    for here, there in pairwise(points):
        if not there.ratio < here.ratio:
            raise LdmError(
                f"the spacing {spacing} gave noise that does not fall: {there} after {here}."
            )
    for point in points:
        if not all(map(math.isfinite, (point.alpha, point.sigma, point.t))):
            raise LdmError(f"the spacing {spacing} gave a point that is not finite: {point}.")
        if not (0 <= point.alpha <= LARGEST and 0 <= point.sigma <= LARGEST):
            raise LdmError(
                f"the spacing {spacing} gave {point}; its alpha and sigma should lie between 0 "
                f"and {LARGEST:g}."
            )
    return Grid(points, schedule)
