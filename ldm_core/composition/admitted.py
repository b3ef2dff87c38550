"""The plugins that a recipe's ``[plugins]`` lets a composition choose from."""

from __future__ import annotations

import warnings

from ldm_core.composition.recipe import TRUST, Layer
from ldm_core.errors import LdmWarning
from ldm_core.plugins import trust
from ldm_core.plugins.registry import Registry, installed


def trust_of(layer: Layer) -> Layer:
    """What a layer says of plugins that may be imported, alone."""
    return {TRUST: layer[TRUST]} if TRUST in layer else {}


def admitted(registry: Registry | None, layer: Layer) -> Registry:
    """What a layer leaves of the plugins.

    Args:
        registry: None for those of the installed packages, of which only such are then imported.
    """
    rules = trust.of_table(layer.get(TRUST, {}), "the recipe")
    if registry is None:
        return installed(rules)
    if not rules:
        return registry
    rest = registry.restricted(rules)
    left = {p.distribution for p in registry.plugins} - {p.distribution for p in rest.plugins}
    for distribution in sorted(left):
        warnings.warn(
            LdmWarning(
                f"the recipe leaves out the plugins of {distribution}, which were imported before "
                "it was read; they are not used."
            ),
            stacklevel=2,
        )
    for text in rules.but(trust.in_force()).unknown(registry.entries) if registry.entries else ():
        warnings.warn(LdmWarning(text), stacklevel=2)
    return rest


def allowed_by_name(layer: Layer) -> frozenset[str]:
    """The distributions, normalised, that allow-lists of a layer and of the environment name."""
    rules = trust.of_environment().also(trust.of_table(layer.get(TRUST, {}), "the recipe"))
    names = [name for one in rules.allow for name in one.names]
    return frozenset(trust.normalised(name.partition(":")[0]) for name in names)
