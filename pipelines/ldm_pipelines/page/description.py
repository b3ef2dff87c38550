"""Which fields the page has for a model and plugins: what those declare, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ldm_core.composition.compose import compose
from ldm_core.composition.nested import only
from ldm_core.composition.recipe import LISTS, STAGES
from ldm_core.contracts import Input
from ldm_core.errors import LdmError
from ldm_core.model.hub_permission import HubPermission, hub_permission
from ldm_core.plugins.blame import blamed
from ldm_core.plugins.hookspecs import KINDS
from ldm_core.plugins.registry import Plugin, Registry
from ldm_pipelines.page.fields import (
    LEFT,
    Field,
    Names,
    is_required,
    names_of_choice,
    of_input,
    of_option,
)
from ldm_pipelines.page.filled import HOOKS, Filled, names_alone
from ldm_pipelines.page.folders import Folders

DEEPEST = 4
"""Plugins inside plugins that have fields."""


@dataclass(frozen=True)
class Section:
    """A plugin that is chosen, or that the model has, with the fields of its options."""

    hook: str
    plugin: Plugin
    chosen: bool
    fields: tuple[Field, ...]
    problem: str = ""


@dataclass(frozen=True)
class Description:
    """What a page shows for a model and plugins.

    Attributes:
        inputs: the model's, as declared, and their fields.
        axes: how large what is drawn is.
        steps: the model's own number of them.
        problem: why the plugins do not go together; the fields are those of the model alone then.
    """

    sections: tuple[Section, ...] = ()
    inputs: dict[str, Input] = field(default_factory=dict)
    input_fields: dict[str, Field] = field(default_factory=dict)
    axes: dict[str, int] = field(default_factory=dict)
    steps: int | None = None
    problem: str = ""

    @property
    def options(self) -> dict[tuple[str, str, str], Field]:
        """The fields of options, by hook point, plugin and name."""
        return {(s.hook, s.plugin.id, f.name): f for s in self.sections for f in s.fields}


def plugin_names(registry: Registry, kind: str) -> tuple[str, ...]:
    """The names of all plugins of a kind: short ones where they are clear. A set of names, such as
    ``diffusers:``, has none of its own."""
    plugins = [plugin for plugin in registry.of_kind(kind) if not plugin.name.endswith(":")]
    names = [plugin.name for plugin in plugins]
    return tuple(p.name if names.count(p.name) == 1 else p.id for p in plugins)


def all_names(registry: Registry, folders: Folders) -> Names:
    """What the fields for plugins and models may be."""
    plugins = {kind: plugin_names(registry, kind) for kind in KINDS}
    return Names(plugins, tuple(folders.model_names(registry)))


def describe(filled: Filled, folders: Folders, registry: Registry) -> Description:
    """The fields for what is chosen; reads no weights.

    Raises:
        LdmError: the model itself cannot be used.
    """
    permission, problem = HubPermission(everything=folders.hub), ""
    folders.check({"model": filled.model}, {}, {}, registry)
    with hub_permission(permission):
        try:
            names = names_alone(filled, folders, registry)
            folders.check(names, {}, {}, registry)
            composition = compose(names, registry)
        except LdmError as error:
            problem = str(error)
            composition = compose({"model": filled.model}, registry)
    own = composition.recipe
    known = all_names(registry, folders)
    sections = []
    for hook in HOOKS:
        kind, chosen = LISTS.get(hook, hook), filled.parts.get(hook, ())
        recipe = own.get(hook, [])
        tables = recipe if isinstance(recipe, list) else [recipe]
        below = {table["name"]: table for table in tables if isinstance(table.get("name"), str)}
        for name in chosen or below:
            plugin = only(registry, kind, name)
            if plugin is not None and (chosen or hook in STAGES):
                told = {
                    option: value
                    for (where, whose, option), value in filled.options.items()
                    if (where, whose) == (hook, plugin.id)
                }
                table = below.get(name, {})
                sections.append(_section(hook, plugin, bool(chosen), table, known, told, registry))
    declared = composition.inputs
    fields = {name: of_input(name, one) for name, one in declared.items()}
    axes, steps = composition.extent(), composition.recipe["num_inference_steps"]
    return Description(tuple(sections), declared, fields, axes, steps, problem)


def _section(
    hook: str,
    plugin: Plugin,
    chosen: bool,
    own: Mapping[str, Any],
    names: Names,
    told: Mapping[str, Any],
    registry: Registry,
) -> Section:
    try:
        fields = tuple(_fields(plugin, own, names, told, registry, composed=chosen))
    except LdmError as error:
        return Section(hook, plugin, chosen, (), error.message)
    return Section(hook, plugin, chosen, fields)


def _fields(
    plugin: Plugin,
    own: Mapping[str, Any],
    names: Names,
    told: Mapping[str, Any],
    registry: Registry,
    before: str = "",
    deep: int = DEEPEST,
    composed: bool = False,
) -> Iterator[Field]:
    """The fields of a plugin's options, and behind one that a plugin fills those of that one's.

    Args:
        own: what the model's recipe says of the options.
        told: what a person filled in, by the names of fields.
        before: the names of the options that lead here, with a dot behind each.
        composed: what is told that plugins fill, or that is needed, stands in ``own`` too, and is
            nobody's own.
    """
    with blamed(plugin, "while its options were read"):
        options = plugin.options
    for option in options.values():
        by_name = option.kind is not None or is_required(option)
        is_told = composed and by_name and option.name in told
        value = LEFT if is_told else own.get(option.name, LEFT)
        one = of_option(option, names, value, before + option.name)
        yield one
        if one.kind is None or not deep:
            continue
        chosen = names_of_choice(told.get(one.name)) or one.shown
        several = enumerate(chosen) if isinstance(chosen, list) else [(None, chosen)]
        for number, name in several:
            inner = only(registry, one.kind, name)
            if inner is None:
                continue
            entry: Any = value
            if number is not None:
                entry = value[number] if isinstance(value, list) and number < len(value) else None
            same = isinstance(entry, dict) and only(registry, one.kind, entry.get("name")) is inner
            behind = f"{one.name}." + ("" if number is None else f"{number}.")
            below: Mapping[str, Any] = entry if same else {}
            for deeper in _fields(inner, below, names, told, registry, behind, deep - 1):
                yield deeper if deeper.of else replace(deeper, of=inner.id)
