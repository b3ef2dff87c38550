"""Guidance away from a weaker network, beside another guidance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ldm_core.contracts import Bound, Evaluation, Grid, ModelInfo, Network, Run
from ldm_core.errors import LdmError
from ldm_core.numerics.grid import intervals_behind
from ldm_core.numerics.point import Point
from ldm_plugins.guidance.shared.around import Around

if TYPE_CHECKING:
    from torch import Tensor

Active = Callable[[Grid, Point], bool]


def between(owner: str, low: float, high: float | None) -> Active:
    """Active where low < sigma/alpha <= high."""
    if high is not None and not low < high:
        raise LdmError(
            f"{owner} acts where low < sigma/alpha <= high, and so nowhere from {low:g} to "
            f"{high:g}."
        )
    return lambda grid, point: low < point.ratio and (high is None or point.ratio <= high)


def within(owner: str, start: float, stop: float) -> Active:
    """Active in a part of the grid's intervals, from 0 to 1."""
    if not 0 <= start < stop <= 1:
        raise LdmError(
            f"{owner} acts on a part of the steps, with 0 <= start < stop <= 1, not from "
            f"{start:g} to {stop:g}."
        )
    return lambda grid, point: start <= intervals_behind(grid, point) / (len(grid) - 1) < stop


@dataclass(frozen=True, kw_only=True)
class Weaker(Around):
    """inner + weight·(positive - weaker), on a part of the grid.

    Attributes:
        branch: what the weaker network answers, to the positive condition.
        weight: of the difference; where it is 0, nothing more is computed.
        network: the weaker network of a run.
        check: raises `LdmError` where a model has no such network.
        active: where on the grid.
        reads: the folder or file of another model, where the network is one's.
        off: the scale, as a person gives it, at which the weight is 0.
        attention: where the self-attention of the weaker network is another.
    """

    branch: str
    weight: float
    network: Callable[[Run], Network]
    check: Callable[[ModelInfo], None]
    active: Active
    reads: tuple[Path, ...] = ()
    off: float = 0.0
    attention: tuple[int | str, ...] = ()

    @property
    def altered_attention(self) -> tuple[int | str, ...]:
        return (*super().altered_attention, *(self.attention if self.weight else ()))

    @property
    def neutral(self) -> Mapping[str, Any] | None:
        return {"scale": self.off, "beside": "ldm-core:none"}

    def files(self) -> Sequence[Path]:
        return [*super().files(), *self.reads]

    def fit(self, info: ModelInfo) -> Self:
        self.check(info)
        return super().fit(info)

    def around(self, inner: Bound, run: Run) -> Bound:
        if not self.weight:
            return inner
        branch = self.branch
        if branch in inner.networks:  # one of the same kind, of other layers or another model
            branch = f"{branch} {len(inner.networks) + 1}"

        def branches(point: Point) -> tuple[str, ...]:
            own = ("positive", branch) if self.active(run.grid, point) else ()
            return tuple(dict.fromkeys((*inner.branches(point), *own)))

        def combine(outputs: Mapping[str, Tensor], at: Evaluation) -> Tensor:
            beside = {name: outputs[name] for name in inner.branches(at.point)}
            answer = inner.output(beside, at)
            if not self.active(run.grid, at.point):
                return answer
            return answer + self.weight * (outputs["positive"] - outputs[branch])

        return replace(
            inner,
            branches=branches,
            combine=combine,
            networks={**inner.networks, branch: self.network(run)},
            inputs={**inner.inputs, branch: {}},
            gives_x0=False,
        )
