"""What a composition is made of, stage by stage, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ldm_core.composition.composition import Composition
from ldm_core.composition.parts import inner_choices
from ldm_core.composition.recipe import LISTS, STAGES
from ldm_core.contracts.guidance import ModelsOwn
from ldm_core.plugins.registry import Plugin, Registry


def stages_of(composition: Composition) -> list[dict[str, Any]]:
    """Of each stage its plugin, package, options with their defaults, and who chose it."""
    own_points = composition.scheduler.points is not None
    stages, beside = [], composition.companions
    for key in (*STAGES, *LISTS):
        entries = composition.recipe.get(key, [])
        for entry in entries if isinstance(entries, list) else [entries]:
            kind = LISTS.get(key, key)
            plugin = _plugin(kind, entry["name"], composition.registry)
            stages.append(
                {
                    "stage": key,
                    "name": str(entry["name"]),
                    "package": "" if plugin is None else f"{plugin.distribution} {plugin.version}",
                    "options": _filled(kind, entry, composition.registry),
                    "chosen_by": "you" if key in composition.chosen else beside.chose(key),
                    "used": not (own_points and key == "spacing"),
                }
            )
    return stages


def _plugin(kind: str, name: Any, registry: Registry) -> Plugin | None:
    """The plugin of a name; None where a part made in Python stands in its place."""
    return registry.find(kind, name) if isinstance(name, str) else None


def _filled(kind: str, choice: Mapping[str, Any], registry: Registry) -> dict[str, Any]:
    """Every option of a choice, the defaults filled in; options that are plugins as tables."""
    options = {key: value for key, value in choice.items() if key != "name"}
    plugin = _plugin(kind, choice["name"], registry)
    if plugin is None:
        return options
    filled = {}
    for name, option in plugin.options.items():
        value, kind_of = options.get(name, option.default), str(option.kind)
        if isinstance(value, ModelsOwn):
            value = str(value)
        elif (inner := inner_choices(plugin, option, options, registry, {})) is not None:
            made = [{"name": str(t["name"]), **_filled(kind_of, t, registry)} for t, _ in inner]
            value = made if option.several else made[0]
        filled[name] = value
    return filled


def options_in_words(options: Mapping[str, Any]) -> str:
    """Options as a table shows them."""
    return ", ".join(f"{name} = {value_in_words(value)}" for name, value in options.items())


def value_in_words(value: Any) -> str:
    """An option's value; another plugin as its name with its own options in brackets."""
    if isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value):
        return ", ".join(map(value_in_words, value))
    if not isinstance(value, Mapping):
        return str(value)
    inner = options_in_words({key: entry for key, entry in value.items() if key != "name"})
    name = str(value.get("name", ""))
    return f"{name} ({inner})" if inner else name
