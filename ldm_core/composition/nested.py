"""The choices of plugins in a layer, those inside the options of others too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ldm_core.composition.recipe import LISTS, STAGES, Layer
from ldm_core.plugins.registry import Plugin, Registry

Change = Callable[[str, Layer], Layer]
"""``change(kind, choice)``: another choice in the place of one that names its plugin."""


def changed_choices(layer: Layer, registry: Registry, change: Change) -> Layer:
    """A layer with other choices in the place of its own, the outer ones first. Parts made in
    Python, and what lies inside a plugin that is not installed, stay as they are."""
    changed = {key: _choice(key, layer[key], registry, change) for key in STAGES if key in layer}
    for key, kind in LISTS.items():
        if key in layer:
            changed[key] = [_choice(kind, choice, registry, change) for choice in layer[key]]
    return {**layer, **changed}


def _choice(kind: str, choice: Any, registry: Registry, change: Change) -> Any:
    alone = isinstance(choice, str)
    table = {"name": choice} if alone else choice
    if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
        return choice
    table = change(kind, dict(table))
    if not table.keys() - {"name"}:
        return table["name"] if alone else table
    plugin = only(registry, kind, table["name"])
    for name, option in ({} if plugin is None else plugin.options).items():
        if option.kind in (None, "model") or name not in table:
            continue
        value = table[name]
        if isinstance(value, list | tuple):
            table[name] = [_choice(str(option.kind), entry, registry, change) for entry in value]
        else:
            table[name] = _choice(str(option.kind), value, registry, change)
    return table


def only(registry: Registry, kind: str, name: Any) -> Plugin | None:
    """The one plugin of a name; None where there is none, there are several, or it is no text."""
    plugins = registry.named(name, kind) if isinstance(name, str) else []
    return plugins[0] if len(plugins) == 1 else None
