"""A recipe in full: every plugin by its full id, with the values of all its options, so that it
means the same where another package offers a name, or another release has other defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from ldm_core.composition.composition import Composition
from ldm_core.composition.nested import only
from ldm_core.composition.parts import inner_choices
from ldm_core.composition.recipe import KEYS, LISTS, STAGES, Layer
from ldm_core.composition.short_names import shipped
from ldm_core.contracts.files import WRITTEN, parts_of
from ldm_core.plugins.options import REQUIRED, Option
from ldm_core.plugins.registry import Registry

OVERWRITE = "overwrite"
"""The option that a function has too which writes a file of a name that is asked for; it says
nothing of how pictures are made."""
UNSAVED = object()
"""In the place of a default that no file can hold."""


def recipe_in_full(composition: Composition) -> Layer:
    """The recipe in use in full, observers left out, which have no part in what is drawn; lists
    that are empty are said to be, so that nothing is added to them. Its order is always the same,
    however it came about."""
    given: Layer = {key: [] for key in ("loras", *LISTS)} | composition.recipe_in_use
    del given["observers"]
    recipe = {key: given[key] for key in sorted(given, key=KEYS.index)}
    return full_recipe(recipe, composition.registry, composition.defaults)


def full_recipe(layer: Layer, registry: Registry, own: Mapping[str, Layer]) -> Layer:
    """A layer in full.

    Args:
        layer: with names of plugins that there are.
        own: the model's own choices, which options may have as their default.
    """
    full = {**layer}
    for key in STAGES:
        if key in layer:
            full[key] = full_choice(key, layer[key], registry, own)
    for key, kind in LISTS.items():
        if key in layer:
            full[key] = [full_choice(kind, choice, registry, own) for choice in layer[key]]
    for key in ("model", "model_config"):
        if isinstance(layer.get(key), str):
            full[key] = full_model(layer[key], registry)
    return full


def full_choice(kind: str, choice: Layer, registry: Registry, own: Mapping[str, Layer]) -> Layer:
    """A choice in full; as it is where a part made in Python stands in it, options alone, or a name
    that is no plugin's.

    A default that depends on the model is the one that the model has.
    """
    plugin = only(registry, kind, choice.get("name"))
    if plugin is None:
        return choice
    full = {**choice, "name": plugin.id}
    for name, option in plugin.options.items():
        inner = inner_choices(plugin, option, choice, registry, own)
        if inner is not None:
            made = [full_choice(str(option.kind), table, registry, below) for table, below in inner]
            # a default that is an object of Python has no name: what it is, its package says
            if name in choice or all(isinstance(table.get("name"), str) for table in made):
                full[name] = made if option.several else made[0]
        elif name not in choice and (value := saved_default(option)) is not UNSAVED:
            full[name] = value
        if option.kind == "model" and isinstance(full.get(name), str):
            full[name] = full_model(full[name], registry)
    return full


def full_model(source: str, registry: Registry) -> str:
    """The name of a model; of one that a package ships its full id."""
    models = shipped(registry, source)
    return models[0].id if len(models) == 1 else source


def saved_default(option: Option) -> Any:
    """The default of an option as a file can hold it; `UNSAVED` where none can."""
    return UNSAVED if option.default is REQUIRED else _saved(option.default)


def saved_options(declared: Mapping[str, Option]) -> dict[str, Any]:
    """The defaults of a command's options as a file can hold them; what names a file to write is
    left out, and what says whether one there is written over."""
    defaults = {n: saved_default(o) for n, o in declared.items() if n != OVERWRITE}
    written = {n for n, o in declared.items() if WRITTEN in parts_of(o.annotation)}
    return {n: v for n, v in defaults.items() if v is not UNSAVED and n not in written}


def _saved(value: Any) -> Any:
    if isinstance(value, Enum):
        value = value.value
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else UNSAVED
    if isinstance(value, Path):
        return str(value)
    if type(value) in (list, tuple):
        entries = [_saved(entry) for entry in value]
        return UNSAVED if UNSAVED in entries else entries
    if type(value) is dict and all(type(key) is str for key in value):
        table = {key: _saved(entry) for key, entry in value.items()}
        return UNSAVED if UNSAVED in table.values() else table
    return UNSAVED
