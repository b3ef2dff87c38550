"""The placement of one pipeline's weights, decided once, before they are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from threading import Lock
from typing import Any
from weakref import WeakSet

from ldm_core.composition.compose import placed
from ldm_core.composition.composition import Composition
from ldm_core.contracts import Plan
from ldm_core.run.memory.placements import Candidate
from ldm_core.run.memory.plan import MemoryPlan, Planner
from ldm_core.run.memory.release import give_back
from ldm_core.run.weights import Weights, converted

Way = tuple[tuple[str, str], ...]
"""A placement for each part, and a way of decoding."""


class Fitting:
    """Where weights lie for a recipe that says how much memory there is.

    The first batch decides, or a batch of one where weights are asked for before. Where a later one
    takes more, a plan is made anew, for all that were seen if one fits them all, and the weights
    are read again for it.

    Attributes:
        plan: the one in force; None as long as there is none.
    """

    def __init__(self) -> None:
        self.plan: MemoryPlan | None = None
        self._seen: dict[str, Mapping[Way, int]] = {}
        self._weights: WeakSet[Weights] = WeakSet()
        self._one_at_a_time = Lock()

    def places(self, weights: Weights) -> Weights:
        """Weights that lie where the plan says, and are let go when it is made anew."""
        self._weights.add(weights)
        return weights

    def see(self, composition: Composition, plan: Plan | None = None) -> None:
        """Decide where the weights lie, so that a batch fits.

        Args:
            plan: of the batch; an example where nobody asked for one yet.
        Raises:
            LdmError: it takes more memory than there is, wherever weights lie.
        """
        with self._one_at_a_time:
            anew = self._see(composition, plan)
        if anew:
            for weights in list(self._weights):
                weights.let_go()
            give_back()

    def _see(self, composition: Composition, plan: Plan | None) -> bool:
        """Whether weights that lie where an earlier plan said are to be placed anew."""
        before = self.plan
        if before is not None and plan is None:
            return False
        planner = Planner.of(composition)
        batch = planner.example() if plan is None else plan
        key = _key(composition, batch)
        if before is not None and key in self._seen and self._fits(key, before.chosen):
            return False
        budget = None if before is None else (before.budget, before.free)
        made = planner.made(batch, budget, self._fits_all)
        self._seen[key] = {_way(way): way.peak for way in made.ways}
        if before is not None and self._fits(key, before.chosen):
            return False
        self.plan = made
        return before is not None

    def _fits_all(self, candidate: Candidate, budget: int) -> bool:
        """Whether all batches that were seen fit, where weights lie so."""
        return all(_peak(peaks, candidate) <= budget for peaks in self._seen.values())

    def _fits(self, key: str, candidate: Candidate) -> bool:
        assert self.plan is not None
        return _peak(self._seen[key], candidate) <= self.plan.budget

    def placed(self, composition: Composition) -> Composition:
        """The composition by which weights are read: the plan as converters of its recipe."""
        self.see(composition)
        assert self.plan is not None
        return placed(composition, self.plan.chosen.converters)

    def kept(self, composition: Composition) -> Composition:
        """The composition that manifests keep: without the plan and what is lossless of it, which
        says nothing of the pictures and all of this machine."""
        lossy: list[Mapping[str, Any]] = []
        if self.plan is not None and not self.plan.chosen.lossless:
            lossy = [{"name": self.plan.chosen.decoding}]
        return placed(composition, [dict(entry) for entry in lossy])


def fitted_to_memory(composition: Composition, whole: Weights, fitting: Fitting | None) -> Weights:
    """The model that runs are made with; where it lies is decided when it is asked for."""
    if fitting is None:
        return converted(composition, whole)
    return fitting.places(Weights(lambda: converted(fitting.placed(composition), whole).model))


def _way(candidate: Candidate) -> Way:
    return *sorted(candidate.placements.items()), ("", candidate.decoding)


def _peak(peaks: Mapping[Way, int], candidate: Candidate) -> int:
    """What a batch takes; decoding a single picture by itself is no way of its own."""
    way = _way(candidate)
    return peaks[way] if way in peaks else peaks[(*way[:-1], ("", ""))]


def _key(composition: Composition, plan: Plan) -> str:
    """What the memory of a batch depends on, but for prompts."""
    return json.dumps(
        [composition.recipe, len(plan.request.seeds), dict(plan.request.extent)], default=str
    )
