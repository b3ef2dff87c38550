"""What of a recipe only says where and in which program it is computed, which is no part of what a
job's pictures are: a job that ran out of memory goes on with an offload, or on another machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ldm_core.composition.parts import make
from ldm_core.composition.recipe import Layer
from ldm_core.contracts import Phase
from ldm_core.errors import LdmError
from ldm_core.media.manifest_record import IMPORTED
from ldm_core.plugins.registry import Registry

OF_PLACE = ("device", "memory", "observers")
"""Keys of a recipe that change no picture."""


def only_places(choice: Layer, registry: Registry) -> bool:
    """Whether a converter, as a recipe names it, keeps the network's answers and only says where
    or by which program they are computed."""
    try:
        part = make("converters", choice, registry, [], {})
    except LdmError:
        return False
    return bool(part.lossless and part.phase >= Phase.COMPILE)


def without_places(recipe: Mapping[str, Any], registry: Registry) -> dict[str, Any]:
    """A recipe without what only places."""
    left = {key: value for key, value in recipe.items() if key not in OF_PLACE}
    converters = [c for c in left.pop("converters", []) if not only_places(c, registry)]
    return {**left, "converters": converters} if converters else left


def without_place(manifest: Mapping[str, Any], registry: Registry) -> dict[str, Any]:
    """A manifest without what only places, by which pictures are one job's that were made on
    several machines."""
    left = {n: v for n, v in manifest.items() if n not in ("lossless", "versions", IMPORTED)}
    left["recipe"] = without_places(manifest.get("recipe", {}), registry)
    plugins = manifest.get("plugins", [])
    left["plugins"] = [plugin for plugin in plugins if not plugin.startswith("converter ")]
    if not left.get("converter_files"):
        left.pop("converter_files", None)
    return left
