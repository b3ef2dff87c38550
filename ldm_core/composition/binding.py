"""The names and options in a recipe become the things that they stand for."""

from __future__ import annotations

import inspect
from typing import Any

from ldm_core.composition.recipe import LISTS, STAGES, Layer, as_choice, is_ready_made
from ldm_core.errors import LdmError
from ldm_core.plugins.options import REQUIRED, bind, check_options, read_options
from ldm_core.plugins.registry import Plugin, Registry


def choices_of(layer: Layer) -> list[tuple[str, Layer]]:
    """Each choice of a layer with the key that it stands under; of lists, each entry."""
    one = [(key, layer[key]) for key in STAGES if key in layer]
    return one + [(key, choice) for key in LISTS for choice in layer.get(key, [])]


def check_choices(layer: Layer, registry: Registry) -> None:
    """Check the plugin names and options of a layer that may lack some; needs no model."""
    for key, choice in choices_of(layer):
        if isinstance(choice.get("name"), str):
            _bound(LISTS.get(key, key), choice, registry, [])


def make(key: str, choice: Layer, registry: Registry, used: list[Plugin]) -> Any:
    """What a choice under a key of a recipe stands for, its options set.

    Args:
        used: takes the plugins that it is made of.
    Raises:
        LdmError: no such plugin or option.
    """
    name = choice.get("name")
    options = {k: v for k, v in choice.items() if k != "name"}
    if name is None:
        raise LdmError(f"options are set for '{key}', but no {key} is chosen.")
    if is_ready_made(name):
        return _ready_made(key, name, options)
    return _bound(LISTS.get(key, key), choice, registry, used)


def _bound(kind: str, choice: Layer, registry: Registry, used: list[Plugin]) -> Any:
    """A plugin with its options set; options that are plugins themselves are bound first."""
    plugin = registry.find(kind, choice["name"])
    used.append(plugin)
    given = {k: v for k, v in choice.items() if k != "name"}
    hint = f"`ldm plugins show {plugin.name}` describes it."
    options = check_options(plugin.options, given, f"the {kind} '{plugin.name}'", hint)
    for name, option in plugin.options.items():
        inner = options.get(name, option.default)
        if option.kind and inner is not None and inner is not REQUIRED:
            table = as_choice(f"{plugin.name}.{name}", inner)
            options[name] = make(option.kind, table, registry, used)
    return bind(plugin.loaded, options)


def _ready_made(key: str, thing: Any, options: dict[str, Any]) -> Any:
    """A part given in Python: a function or factory like a plugin's target, or the thing itself."""
    if inspect.isroutine(thing) or inspect.isclass(thing):
        name = f"the {key} {thing.__qualname__}"
        return bind(thing, check_options(read_options(thing), options, name, ""))
    if options:
        raise LdmError(
            f"the {key} is an object made in Python, so its options ({', '.join(options)}) cannot "
            "be set here; make it with them, or give its factory."
        )
    return thing
