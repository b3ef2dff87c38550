"""A scheduler's coefficients, read out by running it on symbols instead of tensors.

A scheduler written as contracted is linear in x, the x0 estimates and the noise. Run once on
`LinearForm`s it yields, for every point where it asks the denoiser and for its end, the exact
coefficients of ``x``, ``x0[i]`` and ``noise[j]``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from ldm_core.contracts.scheduler import Scheduler, Walk, as_scheduler
from ldm_core.errors import LdmError
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.linear_form import NOT_LINEAR, LinearForm, symbol
from ldm_core.numerics.point import Point


@dataclass(frozen=True)
class DenoiserCall:
    """One evaluation of the denoiser.

    Attributes:
        point: where.
        x: on which combination of symbols.
    """

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
        return symbol(f"x0[{len(calls) - 1}]")

    def noise() -> LinearForm:
        nonlocal drawn
        drawn += 1
        return symbol(f"noise[{drawn - 1}]")

    walk = cast(Any, as_scheduler(scheduler).walk)
    try:
        end = walk(symbol("x"), grid, denoise, noise)
    except NOT_LINEAR as error:
        raise not_linear(error) from error
    return Trace(tuple(calls), drawn, end)


def not_linear(error: BaseException) -> LdmError:
    """What is said of a scheduler that asks something else of a form than sums and products."""
    return LdmError(f"the scheduler is not linear, so it has no table: {error}")
