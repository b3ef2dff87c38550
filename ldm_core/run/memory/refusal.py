"""What would fit, where nothing does as it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ldm_core.composition.compose import assemble
from ldm_core.composition.limits import in_words
from ldm_core.contracts import Extent, Plan
from ldm_core.contracts.latents import describe
from ldm_core.errors import LdmError
from ldm_core.run.memory.placements import Candidate
from ldm_core.run.memory.plan import Planner
from ldm_core.run.memory.shape_walk import Walk

QUARTER = 0.28
"""Of float32's weights that eight bits and their scales take, in about."""
QUANTISED = ("network", "text", "side")


def refusal(
    planner: Planner, plan: Plan, walk: Walk, ways: Sequence[Candidate], budget: int, free: bool
) -> LdmError:
    """The error that says what a batch takes at the least, and what would fit.

    Args:
        walk, ways: of the batch.
    """
    least = min(ways, key=lambda way: way.peak)
    images = len(plan.request.seeds)
    what = describe(plan.request.extent).removeprefix("the size ")
    what = what if images == 1 else f"{images} images at once of {what}"
    room = f"{in_words(budget)} are free" if free else f"the recipe's memory is {in_words(budget)}"
    fits = list(_fits(planner, plan, walk, least, budget))
    fits.append(f"--memory {-(-least.peak // 2**20)}MiB ({least.words})")
    return LdmError(
        f"{what} would take at least {in_words(least.peak)} of memory ({least.words}), and {room}.",
        f"what would fit: {'; '.join(fits)}.",
    )


def _fits(planner: Planner, plan: Plan, walk: Walk, least: Candidate, budget: int) -> Iterator[str]:
    """Changes by each of which the batch would fit, in words."""
    images = len(plan.request.seeds)
    single = plan if images == 1 else plan.batches(1)[0]
    alone = least if single is plan else _least(planner, single)
    if images > 1 and alone is not None and alone.peak <= budget:
        yield f"a batch_size of {_batch(planner, plan, budget)}"
    smaller = _smaller(planner, single, budget)
    if smaller is not None and (alone is None or alone.peak > budget):
        yield describe(smaller).removeprefix("the ")
    half = _half(planner, plan, budget)
    if half is not None:
        yield half
    quantised = _quantised(planner, walk, budget)
    if quantised is not None:
        yield quantised


def _least(planner: Planner, plan: Plan) -> Candidate | None:
    """The way that takes least for another batch; None where it cannot be made."""
    try:
        ways = planner.ways(planner.walked(plan), plan)
    except LdmError:
        return None
    return min(ways, key=lambda way: way.peak)


def _batch(planner: Planner, plan: Plan, budget: int) -> int:
    """The largest batch that fits, of those that halving leads to."""
    size = len(plan.request.seeds) // 2
    while size > 1:
        way = _least(planner, plan.batches(size)[0])
        if way is not None and way.peak <= budget:
            break
        size //= 2
    return max(size, 1)


def _smaller(planner: Planner, plan: Plan, budget: int) -> Extent | None:
    """The largest of some smaller extents that fits."""
    extent, latents = plan.request.extent, planner.composition.info.latents
    for share in (0.75, 0.5, 0.375, 0.25):
        other = {}
        for name, length in extent.items():
            other[name] = latents.axis(name).nearest(length * share)
        if other == dict(extent):
            continue
        try:
            way = _least(planner, planner.example(1, other))
        except LdmError:
            continue
        if way is not None and way.peak <= budget:
            return other
    return None


def _half(planner: Planner, plan: Plan, budget: int) -> str | None:
    """Half precision, where it fits by itself."""
    import torch

    if planner.place.dtype is not torch.float32:
        return None
    compute = torch.float32 if planner.place.device.type == "cpu" else torch.bfloat16
    place = replace(planner.place, dtype=torch.bfloat16, compute_dtype=compute)
    own = planner.composition
    chosen = {**own.chosen, "dtype": "bfloat16", "compute_dtype": "auto"}
    composition = assemble(own.info, own.registry, own.family, own.own, chosen, own.loras)
    other = Planner(composition, place)
    peak = min(way.peak for way in other.ways(other.walked(plan), plan))
    return f"dtype bfloat16 ({in_words(peak)})" if peak <= budget else None


def _quantised(planner: Planner, walk: Walk, budget: int) -> str | None:
    """Weights in eight bits, where they fit whole and are not read in a form of their own."""
    import torch

    if any(converter.reading is not None for converter in planner.composition.converters):
        return None

    share = QUARTER * (4 / planner.place.dtype.itemsize)
    weights = {
        part: int(size * share) if walk.roles[part] in QUANTISED else size
        for part, size in walk.weights.items()
    }
    saved = {part: walk.weights[part] - size for part, size in weights.items()}
    if planner.place.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        return None
    peaks = [
        peak.live + sum(weights.values())
        for peaks in (walk.before, walk.decoding[""])
        for peak in peaks.values()
    ]
    fits = max(peaks) <= budget and sum(saved.values()) > 0
    return f"the converter quantize (about {in_words(max(peaks))})" if fits else None
