"""Options of a plugin that is itself an option of another: by names with dots, as ``inner.order``,
or with a number where there are several, as ``kernels.0.heads``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ldm_core.composition.nested import only
from ldm_core.composition.recipe import Layer
from ldm_core.plugins.registry import Plugin, Registry
from ldm_pipelines.page.fields import Field, names_of_choice


def put(table: Layer, name: str, value: Any, fields: Mapping[str, Field]) -> None:
    """Set an option in a plugin's table of a recipe, and what leads there.

    Args:
        fields: of the plugin, by their names.
    """
    for at, number in _heads(name):
        leaf = at.rpartition(".")[2]
        if leaf not in table:
            table[leaf] = fields[at].own
        if number is None:
            table[leaf] = table = _table(table[leaf])
        else:
            table[leaf] = [_table(entry) for entry in table[leaf]]
            table = table[leaf][number]
    table[name.rpartition(".")[2]] = value


def still_there(
    name: str, fields: Mapping[str, Field], told: Mapping[str, Any], registry: Registry
) -> bool:
    """Whether the plugin is chosen whose option a field is: another may have been since the fields
    were made.

    Args:
        told: what a person filled in, by the names of fields.
    """
    heads = [*_heads(name)]
    if not heads:
        return True
    at, number = heads[-1]
    chosen = names_of_choice(told.get(at)) or fields[at].shown
    if number is not None:
        chosen = dict(enumerate(chosen)).get(number)
    plugin = only(registry, str(fields[at].kind), chosen)
    return plugin is not None and plugin.id == fields[name].of


def flat(plugin: Plugin, table: Mapping[str, Any], registry: Registry) -> dict[str, Any]:
    """The options in a table of a recipe by the names of their fields, the outer ones first."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        if name == "name":
            continue
        found[name] = value
        option = plugin.options.get(name)
        if option is None or option.kind in (None, "model"):
            continue
        for behind, entry in _entries(name, value):
            inner = only(registry, str(option.kind), entry.get("name"))
            if inner is not None:
                below = flat(inner, entry, registry)
                found |= {f"{behind}.{leaf}": deeper for leaf, deeper in below.items()}
    return found


def _entries(name: str, value: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    several = isinstance(value, list | tuple)
    for number, entry in enumerate(value if several else [value]):
        if isinstance(entry, Mapping):
            yield f"{name}.{number}" if several else name, entry


def _heads(name: str) -> Iterator[tuple[str, int | None]]:
    """The options that lead to one, the outermost first, each with the place in its list."""
    words = name.split(".")[:-1]
    for place, word in enumerate(words):
        if not word.isdecimal():
            after = words[place + 1] if place + 1 < len(words) else ""
            yield ".".join(words[: place + 1]), int(after) if after.isdecimal() else None


def _table(choice: Any) -> Layer:
    return dict(choice) if isinstance(choice, Mapping) else {"name": choice}
