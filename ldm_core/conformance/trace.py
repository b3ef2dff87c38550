"""A scheduler's coefficients, read out by running it on symbols instead of tensors.

A scheduler written as contracted is linear in x, the x0 estimates and the noise. Run once on
`LinearForm`s it yields, for every point where it asks the denoiser and for its end, the exact
coefficients of ``x``, ``x0[i]`` and ``noise[j]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from ldm_core.contracts import Grid, Scheduler, Walk, as_scheduler
from ldm_core.errors import LdmError
from ldm_core.numerics.point import Point


@dataclass(frozen=True)
class LinearForm:
    """A sum of symbols with float coefficients; knows the arithmetic that keeps it linear."""

    terms: Mapping[str, float]

    def __add__(self, other: LinearForm) -> LinearForm:
        if not isinstance(other, LinearForm):
            return NotImplemented
        total = dict(self.terms)
        for symbol, coefficient in other.terms.items():
            total[symbol] = total.get(symbol, 0.0) + coefficient
        return LinearForm(total)

    def __mul__(self, factor: float) -> LinearForm:
        if not isinstance(factor, int | float):
            return NotImplemented
        return LinearForm({symbol: factor * value for symbol, value in self.terms.items()})

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> LinearForm:
        return self * (1.0 / divisor)

    def __neg__(self) -> LinearForm:
        return self * -1.0

    def __sub__(self, other: LinearForm) -> LinearForm:
        return self + -other

    def __getitem__(self, symbol: str) -> float:
        return self.terms.get(symbol, 0.0)


@dataclass(frozen=True)
class DenoiserCall:
    """One evaluation of the denoiser: where, and on which combination of symbols."""

    point: Point
    x: LinearForm


@dataclass(frozen=True)
class Trace:
    """A scheduler on a grid, as coefficients.

    Attributes:
        calls: the evaluations of the denoiser in order; the i-th answers ``x0[i]``.
        noises: how many times noise was drawn.
        end: what the scheduler returned.
    """

    calls: tuple[DenoiserCall, ...]
    noises: int
    end: LinearForm

    @property
    def symbols(self) -> list[str]:
        """Every symbol, in the order of the columns of a table."""
        estimates = [f"x0[{i}]" for i in range(len(self.calls))]
        return ["x", *estimates, *(f"noise[{j}]" for j in range(self.noises))]


def trace(scheduler: Scheduler | Walk, grid: Grid) -> Trace:
    """Run a scheduler on symbols.

    Raises:
        LdmError: it is not linear in x, the estimates and the noise; it still runs, but has no
            table.
    """
    calls: list[DenoiserCall] = []
    drawn = 0

    def denoise(x: LinearForm, point: Point) -> LinearForm:
        calls.append(DenoiserCall(point, x))
        return LinearForm({f"x0[{len(calls) - 1}]": 1.0})

    def noise() -> LinearForm:
        nonlocal drawn
        drawn += 1
        return LinearForm({f"noise[{drawn - 1}]": 1.0})

    walk = cast(Any, as_scheduler(scheduler).walk)
    try:
        end = walk(LinearForm({"x": 1.0}), grid, denoise, noise)
    except (TypeError, AttributeError) as error:
        raise LdmError(f"the scheduler is not linear, so it has no table: {error}") from error
    return Trace(tuple(calls), drawn, end)
