"""Models that packages ship: whose a folder is."""

from __future__ import annotations

from pathlib import Path

from ldm_core.contracts.files import in_full
from ldm_core.plugins.registry import Registry, ShippedModel


def in_words(model: ShippedModel) -> str:
    """A model with its package, for messages."""
    return f"the model '{model.name}' of the package {model.distribution} {model.version}"


def shipped_in(registry: Registry, folder: Path) -> ShippedModel | None:
    """The model that a package ships in a folder; None where none does, and where several packages
    say so, none of which can then take what it means from another."""
    models = [model for model in registry.models if in_full(model.folder) == str(folder)]
    alone = len({model.distribution for model in models}) == 1
    return models[0] if alone else None
