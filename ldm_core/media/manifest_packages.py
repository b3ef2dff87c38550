"""The packages that a picture was made with, and which of them have changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ldm_core.composition.composition import Composition
from ldm_core.composition.recipe import Layer
from ldm_core.composition.short_names import shipped
from ldm_core.plugins.registry import Registry
from ldm_core.plugins.trust import LOCAL, normalised

PACKAGES = ("ldm-core", "torch", "diffusers", "transformers", "accelerate", "numpy")
"""Packages that have a part in every picture."""


def versions_in_use(composition: Composition, recipe: Layer) -> dict[str, str]:
    """The versions of the packages that have a part in a picture: those of every picture, and those
    whose plugins or models are in use.

    Args:
        recipe: in full, see `ldm_core.composition.full_recipe`.
    """
    registry, texts = composition.registry, {*_texts(recipe)}
    used = {p.distribution: p.version for p in composition.plugins if p.kind != "observer"}
    used |= {m.distribution: m.version for m in registry.models if m.id in texts}
    families = registry.named(composition.info.family_id, "family")
    used |= {family.distribution: family.version for family in families}
    return dict(sorted({**used, **_of_every_picture()}.items()))


@cache
def _of_every_picture() -> dict[str, str]:
    return versions(PACKAGES)


def imported(registry: Registry, others: Iterable[str] = ()) -> dict[str, str]:
    """The version of each package whose plugins this process imported, as it lists them; whatever
    is imported may change something.

    Args:
        others: packages that are left out.
    """
    packages = {one.distribution: one.version for one in registry.imports}
    packages |= {plugin.distribution: plugin.version for plugin in registry.plugins}
    packages |= {model.distribution: model.version for model in registry.models}
    return {name: packages[name] for name in sorted(packages.keys() - {*others})}


def model_package(composition: Composition) -> dict[str, str] | None:
    """The package that ships the model; None where it is a folder, a file or of the Hub."""
    models = shipped(composition.registry, composition.info.source)
    if len(models) != 1:
        return None
    return {"name": models[0].distribution, "version": models[0].version}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for entry in value.values():
            yield from _texts(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _texts(entry)


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The installed version of each package that is installed; none of a plugin's file, whose name
    is no package's."""
    installed = {}
    for package in sorted(packages):
        if normalised(package) == LOCAL:
            continue
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    return installed


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """One line for each package whose version changed."""
    lines = []
    for package in sorted({*then, *now}):
        before, after = then.get(package, "not installed"), now.get(package, "not installed")
        if before != after:
            lines.append(f"{package}: {before} then, {after} now")
    return lines
