"""Guidance away from a weaker network, beside another guidance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Evaluation, Grid, Guidance, Run
from ldm_core.contracts.family import ModelInfo, Network
from ldm_core.errors import LdmError
from ldm_core.numerics.grid import intervals_behind
from ldm_core.numerics.point import Point
from ldm_plugins.guidance.classifier_free import classifier_free
from ldm_plugins.guidance.embedded import embedded
from ldm_plugins.guidance.none import none

if TYPE_CHECKING:
    from torch import Tensor

OWN: Mapping[str, Callable[..., Guidance]] = {
    "none": none,
    "classifier_free": classifier_free,
    "embedded": embedded,
}


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


@dataclass(frozen=True)
class Weaker:
    """beside + weight·(positive - weaker), on a part of the grid.

    Attributes:
        branch: what the weaker network answers, to the positive condition.
        weight: of the difference; where it is 0, nothing more is computed.
        network: the weaker network of a run.
        fits: raises `LdmError` where the model has no such network.
        active: where on the grid.
        beside: the guidance that the difference is added to; the model's own where None.
        networks, inputs, grid: of a run.
    """

    branch: str
    weight: float
    network: Callable[[Run], Network]
    fits: Callable[[ModelInfo], None]
    active: Active
    beside: Guidance | None
    networks: Mapping[str, Network] = field(default_factory=dict)
    inputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    grid: Grid | None = None

    @property
    def embedded_scale(self) -> float | None:
        """What the guidance beside it tells the network."""
        return getattr(self.beside, "embedded_scale", None)

    def for_model(self, info: ModelInfo) -> Weaker:
        self.fits(info)
        return replace(self, beside=fitted(self.beside, info))

    def bind(self, run: Run) -> Weaker:
        beside = bound(self.beside or none(), run)
        networks = dict(getattr(beside, "networks", {}))
        inputs = dict(getattr(beside, "inputs", {}))
        if self.weight:
            networks[self.branch] = self.network(run)
            inputs[self.branch] = {}
        return replace(self, beside=beside, networks=networks, inputs=inputs, grid=run.grid)

    def branches(self, point: Point) -> tuple[str, ...]:
        others = (self.beside or none()).branches(point)
        return tuple(dict.fromkeys((*others, *self._own(point))))

    def combine(self, outputs: Mapping[str, Tensor], at: Evaluation) -> Tensor:
        beside = self.beside or none()
        asked = {name: outputs[name] for name in beside.branches(at.point)}
        combined = beside.combine(asked, at)
        if not self._own(at.point):
            return combined
        return combined + self.weight * (outputs["positive"] - outputs[self.branch])

    def _own(self, point: Point) -> tuple[str, ...]:
        """The branches that it needs itself, none where it is not active."""
        if not (self.weight and self.grid and self.active(self.grid, point)):
            return ()
        return ("positive", self.branch)


def fitted(beside: Guidance | None, info: ModelInfo) -> Guidance:
    """A guidance, told of the model; the one that the model's family chooses where None.

    Raises:
        LdmError: the family chooses one that must be named.
    """
    if beside is None:
        own: Any = info.defaults.get("guidance", "none")
        options = {"name": own} if isinstance(own, str) else dict(own)
        name = options.pop("name")
        if name not in OWN:
            raise LdmError(
                f"the model '{info.source}' has a guidance of its own, '{name}'; say what this one "
                "is to be added to, as in beside = 'none'."
            )
        beside = OWN[name](**options)
    fit = getattr(beside, "for_model", None)
    found: Guidance = fit(info) if fit else beside
    told = getattr(found, "embedded_scale", None)
    if told is not None and "embedded_guidance" not in info.abilities:
        raise LdmError(
            f"the model '{info.source}' (family {info.family}) was not distilled to take its "
            "guidance as a number; choose beside = 'classifier_free'."
        )
    return found


def bound(beside: Guidance, run: Run) -> Guidance:
    """A guidance, made for one run."""
    bind = getattr(beside, "bind", None)
    found: Guidance = bind(run) if bind else beside
    return found
