"""What the names in a manifest mean now: the plugins of the packages of then.

A manifest names plugins by their full ids. One of an earlier release has the short names that a
person typed, and a list of the ids that they stood for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ldm_core.composition.nested import changed_choices
from ldm_core.composition.recipe import Layer
from ldm_core.composition.short_names import shipped
from ldm_core.media.manifest_record import Manifest
from ldm_core.model.files import model_hash
from ldm_core.plugins.registry import Registry


def with_names_of_then(recipe: Layer, then: Manifest, registry: Registry) -> Layer:
    """A recipe of a manifest whose names stand for the plugins and the model that made the picture,
    whatever else is installed now; those that are not installed are full ids nonetheless."""
    made_by = then.made_by

    def full(kind: str, choice: Layer) -> Layer:
        name = choice["name"]
        id = f"{made_by[f'{kind} {name}']}:{name}" if f"{kind} {name}" in made_by else name
        return {**choice, "name": id_now(kind, id, registry)}

    named = changed_choices(recipe, registry, full)
    return {**named, **_model(named, then, registry)}


def missing_of(recipe: Layer, registry: Registry) -> set[tuple[str, str]]:
    """Kind and name of each plugin of a recipe that is not installed."""
    missing: set[tuple[str, str]] = set()

    def look(kind: str, choice: Layer) -> Layer:
        if not registry.named(choice["name"], kind):
            missing.add((kind, choice["name"]))
        return choice

    changed_choices(recipe, registry, look)
    return missing


def id_now(kind: str, id: str, registry: Registry) -> str:
    """The id of a plugin as its package spells its own name now; as it is where there is none."""
    _, colon, name = id.partition(":")
    if not colon or registry.named(id, kind):
        return id
    ids = {plugin.id for plugin in registry.named(name, kind) if same(plugin.id, id)}
    return ids.pop() if len(ids) == 1 else id


def same(id: str, other: str) -> bool:
    """Whether two full ids are of one plugin, however the package's name is spelt."""
    first, second = id.partition(":"), other.partition(":")
    return (canonical(first[0]), first[2]) == (canonical(second[0]), second[2])


def canonical(distribution: str) -> str:
    """The name of a distribution as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _model(recipe: Mapping[str, object], then: Manifest, registry: Registry) -> Layer:
    """The model of then as its package spells its name now; among several of one short name the one
    with the files of then."""
    name = recipe.get("model")
    models = shipped(registry, name) if isinstance(name, str) else []
    if not models and isinstance(name, str):
        ids = [model.id for model in registry.models if same(model.id, name)]
        return {"model": ids[0]} if len(ids) == 1 else {}
    if len(models) < 2:
        return {}
    ids = [model.id for model in models if model_hash(model.folder) == then.model_sha256]
    return {"model": ids[0]} if ids else {}
