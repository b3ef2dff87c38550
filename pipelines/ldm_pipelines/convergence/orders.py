"""The order of convergence of a curve, where it has one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

FLOOR = 10.0
"""A distance counts where it is so many times the reference's own error."""
STRAIGHT = 0.05
"""How far ln(distance) may lie from a line, that is five per cent."""
FALLS = 0.25
"""A curve with a smaller slope does not fall."""
FLAT = "the distance does not fall: it ends elsewhere, or chooses its steps itself"
FEWEST, WIDTH = 3, 4.0
"""A line has so many points at least, and the most steps are so many times the fewest."""


@dataclass(frozen=True)
class Order:
    """An order that was measured, or why there is none.

    Attributes:
        value: the slope of ln(distance) over ln(1/steps), by least squares.
        steps: the fewest and the most of the range that it was fitted to.
        why: why there is none; else empty.
    """

    value: float | None
    steps: tuple[int, int] | None = None
    why: str = ""

    def __str__(self) -> str:
        if self.value is None or self.steps is None:
            return f"none: {self.why}"
        return f"{self.value:.2f} over {self.steps[0]} to {self.steps[1]} steps"


def measured_order(steps: Sequence[int], distances: Sequence[float], error: float) -> Order:
    """The slope at the fine end of a curve: over the longest range that reaches the most steps
    whose distance still counts, and in which all points lie on a line. What a scheduler declares
    has no part in it.

    Args:
        steps: rising.
        distances: to the reference, for each number of steps.
        error: of the reference itself.
    """
    finite = [(n, d) for n, d in zip(steps, distances, strict=True) if math.isfinite(d)]
    counted = [(n, d) for n, d in finite if d > FLOOR * error and d > 0]
    for first in range(len(counted) - FEWEST + 1):
        part = counted[first:]
        if part[-1][0] < WIDTH * part[0][0]:
            break
        xs, ys = [math.log(n) for n, _ in part], [-math.log(d) for _, d in part]
        slope, offset = line(xs, ys)
        if all(abs(y - slope * x - offset) <= STRAIGHT for x, y in zip(xs, ys, strict=True)):
            if slope < FALLS:
                return Order(None, why=FLAT)
            return Order(slope, (part[0][0], part[-1][0]))
    if len(counted) < len(steps) and (
        len(counted) < FEWEST or counted[-1][0] < WIDTH * counted[0][0]
    ):
        lost, near = len(steps) - len(finite), len(finite) - len(counted)
        whys = [
            f"{lost} of {len(steps)} walks end in no finite numbers" if lost else "",
            f"{near} of {len(steps)} distances are too near to the reference's own error, "
            f"{error:.1e}"
            if near
            else "",
        ]
        return Order(None, why="; ".join(why for why in whys if why))
    if len(steps) < FEWEST or steps[-1] < WIDTH * steps[0]:
        return Order(None, why="too few numbers of steps, 4:64 is enough")
    return Order(None, why="the curve is not straight over these steps")


def line(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float]:
    """Slope and offset of the line through points, by least squares."""
    x_mean, y_mean = sum(xs) / len(xs), sum(ys) / len(ys)
    slope = sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True))
    slope /= sum((x - x_mean) ** 2 for x in xs)
    return slope, y_mean - slope * x_mean
