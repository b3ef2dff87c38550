"""What a short name means that no person typed: the plugin of the package whose name it is.

A family's defaults, the ``ldm.toml`` in a model's folder, what a scheduler says goes with it, and
the default of an option are written by a package, which means its own plugins and those of
ldm-core. Another package that offers the same name changes nothing of that: where a short name has
become ambiguous, the full id takes its place. What a person types stays as it is, and is then an
error that names both.
"""

from __future__ import annotations

from pathlib import Path

from ldm_core.composition.nested import changed_choices, only
from ldm_core.composition.recipe import Layer
from ldm_core.model.shipping import shipped_in
from ldm_core.plugins.blame import OWN
from ldm_core.plugins.registry import Registry, ShippedModel


def owned(layer: Layer, registry: Registry, owner: str) -> Layer:
    """A layer that a package wrote, in which every name stands for one plugin as long as its
    package, or ldm-core, offers it.

    Args:
        owner: the distribution whose layer it is.
    """

    def full(kind: str, choice: Layer) -> Layer:
        return {**choice, "name": owned_name(registry, kind, choice["name"], owner)}

    return changed_choices(layer, registry, full)


def with_full_ids(layer: Layer, registry: Registry) -> Layer:
    """A layer with the full id of each plugin that it names, such as a program keeps of what a
    person typed; a name that stands for none, or for several, stays."""

    def full(kind: str, choice: Layer) -> Layer:
        plugin = only(registry, kind, choice["name"])
        return choice if plugin is None else {**choice, "name": plugin.id}

    return changed_choices(layer, registry, full)


def owned_name(registry: Registry, kind: str, name: str, owner: str) -> str:
    """A name as a package means it: as it is where it is clear, else the full id."""
    plugins = registry.named(name, kind)
    if len(plugins) < 2:
        return name
    for distribution in (owner, OWN):
        ids = {plugin.id for plugin in plugins if plugin.distribution == distribution}
        if len(ids) == 1:
            return ids.pop()
    return name


def owner_of(id: str) -> str:
    """The distribution of a plugin's full id; ldm-core where it has none."""
    distribution, colon, _ = id.partition(":")
    return distribution if colon else OWN


def owner_of_folder(registry: Registry, folder: Path) -> str:
    """The distribution that ships a model's folder; ldm-core where none does, or two say so, one of
    which it may be."""
    model = shipped_in(registry, folder)
    return OWN if model is None else model.distribution


def owned_model(registry: Registry, name: str, owner: str = OWN) -> str:
    """The name of a shipped model as a package means it; as it is where it is clear."""
    models = shipped(registry, name)
    ids = {model.id for model in models if model.distribution == owner}
    return ids.pop() if len(models) > 1 and len(ids) == 1 else name


def shipped(registry: Registry, name: str) -> list[ShippedModel]:
    """The models of installed packages that have this short name or full id."""
    return [model for model in registry.models if name in (model.name, model.id)]
