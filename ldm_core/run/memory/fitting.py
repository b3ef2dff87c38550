"""The placement of one pipeline's weights, decided once, before they are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from threading import Lock
from typing import Any

from ldm_core.composition.compose import placed
from ldm_core.composition.composition import Composition
from ldm_core.composition.limits import in_words
from ldm_core.contracts import Plan
from ldm_core.errors import LdmError
from ldm_core.run.memory.plan import MemoryPlan, Planner
from ldm_core.run.memory.refusal import refusal


class Fitting:
    """Where weights lie for a recipe that says how much memory there is.

    The first batch decides, or a batch of one where weights are asked for before. Later batches
    are seen to fit; one that takes more is refused, with what would fit.

    Attributes:
        plan: the one that was made; None as long as there is none.
    """

    def __init__(self) -> None:
        self.plan: MemoryPlan | None = None
        self._seen: set[str] = set()
        self._one_at_a_time = Lock()

    def see(self, composition: Composition, plan: Plan | None = None) -> None:
        """Decide where the weights lie, or see that a batch fits where they do.

        Args:
            plan: of the batch; an example where nobody asked for one yet.
        Raises:
            LdmError: it takes more memory than there is.
        """
        with self._one_at_a_time:
            if self.plan is not None and plan is None:
                return
            planner = Planner.of(composition)
            batch = planner.example() if plan is None else plan
            key = _key(composition, batch)
            if key in self._seen:
                return
            if self.plan is None:
                self.plan = planner.made(batch)
            else:
                self._check(planner, batch, self.plan)
            self._seen.add(key)

    def _check(self, planner: Planner, batch: Plan, made: MemoryPlan) -> None:
        ways = planner.ways(planner.walked(batch), batch)
        same = [
            way
            for way in ways
            if (way.placements, way.decoding) == (made.chosen.placements, made.chosen.decoding)
        ]
        if same and same[0].peak <= made.budget:
            return
        error = refusal(planner, batch, same or ways, made.budget, made.free)
        raise LdmError(
            f"{error.message} The weights lie where they do for {made.images} at once "
            f"({made.chosen.words}, {in_words(made.chosen.peak)}).",
            f"{error.hint} Or load the model anew for it.",
        )

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


def _key(composition: Composition, plan: Plan) -> str:
    """What the memory of a batch depends on, but for prompts."""
    return json.dumps(
        [composition.recipe, len(plan.request.seeds), dict(plan.request.extent)], default=str
    )
