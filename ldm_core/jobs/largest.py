"""The largest batch of a job, for which weights are placed."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ldm_core.composition.composition import Composition
from ldm_core.contracts import Plan
from ldm_core.jobs.batching import Batch
from ldm_core.jobs.checking import defaults_of
from ldm_core.jobs.compositions import Compositions, key_of, split
from ldm_core.jobs.making import Making


def largest_of(
    batches: Sequence[Batch], like: Batch, compositions: Compositions, making: Making
) -> tuple[Composition, Plan] | None:
    """The one of most numbers of those that are made with the same weights as another; None where
    nothing is known of them before they are made."""
    same: dict[tuple[int, int], Batch] = {}
    weights = key_of(split(like.group.choices)[0])
    for batch in batches:
        if key_of(split(batch.group.choices)[0]) == weights:
            same.setdefault((id(batch.group), len(batch.pictures)), batch)
    best: tuple[int, Composition, Plan] | None = None
    for batch in same.values():
        composition = compositions.of(batch.group.choices)
        call = batch.group.call(batch.pictures, defaults_of(making, composition))
        plan = making.plan(composition, call)
        if plan is None:
            continue
        size = len(plan.request.seeds) * prod(plan.request.extent.values())
        if best is None or size > best[0]:
            best = size, composition, plan
    return None if best is None else best[1:]
