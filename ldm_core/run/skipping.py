"""Images that are not made again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ldm_core.composition.composition import Composition
from ldm_core.contracts import Plan
from ldm_core.media.manifest import make_manifests
from ldm_core.model import place

Skip = Callable[[Mapping[str, Any]], bool]
"""Whether an image is to be left out, by what its manifest would be."""


def without(composition: Composition, plan: Plan, skip: Skip) -> Plan:
    """A plan without the images that are to be left out; it may have none left. No weights are
    read for that."""
    request, where = plan.request, place.resolve(composition.recipe)
    manifests = make_manifests(composition, request, where)
    left = [index for index, manifest in enumerate(manifests) if not skip(manifest)]
    return replace(plan, request=request.at(left))
