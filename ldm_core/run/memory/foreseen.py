"""A run that would take more memory than there is, refused before it begins.

A processor's memory that is asked for is always given, and the system then ends the program. So a
run that could come near to what is free is foreseen: one image of the model's own size and two are
walked on shapes, and what it takes is at least on the line through both, for memory rises with the
size as a straight line or faster; but for what small tensors are rounded up to, which is allowed
for. Nothing is so refused that could have run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ldm_core.composition import limits
from ldm_core.composition.composition import Composition
from ldm_core.contracts import Extent, Plan
from ldm_core.contracts.latents import describe
from ldm_core.errors import LdmError
from ldm_core.run.memory.live_bytes import Peak
from ldm_core.run.memory.plan import Planner

FACTOR = 256
"""Of what an image takes at the very least, what no network or decoder that is known takes more."""

ROUNDED = 0.1
"""The share of the line that blocks of memory may make of it at small sizes."""


def foreseen(composition: Composition, plans: Sequence[Plan]) -> Sequence[Plan]:
    """Batches, once it is seen that the largest does not take more memory than is free, beside
    weights: on a processor, where the recipe says nothing of memory.

    Raises:
        LdmError: it does; it says what would fit.
    """
    if not plans or composition.recipe.get("memory") is not None:
        return plans
    plan = max(plans, key=lambda one: len(one.request.seeds))
    images, extent = len(plan.request.seeds), plan.request.extent
    info, free = composition.info, limits.available_bytes()
    kind = composition.decoder.kind
    one = limits.least_bytes(info.latents, info.image_channels, extent, kind)
    if one * images * FACTOR <= free:
        return plans
    planner = Planner.of(composition)
    if planner.place.device.type != "cpu":
        return plans  # which says itself that it has no more
    try:
        alone, both = (_beside_weights(planner, count) for count in (1, 2))
    except LdmError:  # what is not known beforehand is not refused
        return plans
    shape = info.latents.shape
    times = math.prod(shape(extent)) / math.prod(shape(info.default_extent))
    each = (both - alone) * times * (1 - ROUNDED)
    fixed = (alone - (both - alone)) * (1 - ROUNDED)
    needed = fixed + each * images
    if needed <= free:
        return plans
    what = describe(extent).removeprefix("the size ")
    what = what if images == 1 else f"{images} images at once of {what}"
    raise LdmError(
        f"{what} would take at least {limits.in_words(int(needed))} of memory beside the weights, "
        f"and {limits.in_words(free)} are free.",
        f"what could fit: {_smaller(extent, max(free - fixed, 0) / each)}; or --memory auto, which "
        "seeks a way of computing that takes less.",
    )


def _smaller(extent: Extent, images: float) -> str:
    """What could fit where so many images of a size do, or a part of one."""
    if images >= 1:
        return f"a batch_size of {int(images)}"
    factor = images ** (1 / len(extent))
    sides = {name: max(1, int(length * factor)) for name, length in extent.items()}
    return f"about {describe(sides).removeprefix('the size ')}"


def _beside_weights(planner: Planner, images: int) -> int:
    """The most that so many images of the model's own size take beside weights. Where converters
    change the model, of the decoder it is not known, which may work in pieces."""
    walk = planner.walked(planner.example(images, planner.composition.info.default_extent))
    peaks: list[Mapping[str, Peak]] = [walk.before]
    if not planner.composition.converters:
        peaks.append(walk.decoding[""])
    return max(peak.live for several in peaks for peak in several.values())
