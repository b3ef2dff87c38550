"""What a picture was made with that is not there now, or is another: refused with the command that
brings it back, or said."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ldm_core.composition.composition import Composition
from ldm_core.composition.full_recipe import UNSAVED, saved_default
from ldm_core.composition.nested import changed_choices, only
from ldm_core.composition.owners import shipped
from ldm_core.composition.reach import Reach
from ldm_core.composition.recipe import Layer
from ldm_core.contracts.guidance import ModelsOwn
from ldm_core.errors import LdmError
from ldm_core.media.manifest_names import canonical, same
from ldm_core.media.manifest_packages import differences, imported, versions
from ldm_core.media.manifest_record import Manifest
from ldm_core.plugins.options import Option
from ldm_core.plugins.registry import Plugin, Registry
from ldm_core.values import brief

NAME, VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*"), re.compile(r"[A-Za-z0-9][\w.!+-]*")
"""Of packages that a command for a person's shell may name: a picture may come from anybody."""


def check_installed(then: Manifest, layer: Layer, reach: Reach, registry: Registry) -> None:
    """See that all is installed that made a picture.

    Args:
        layer: its recipe, without what the person typed in its place.
        reach: which the recipe was told.
    Raises:
        LdmError: something is not; all of it is named, and the command that installs it.
    """
    missing = set(reach.missing)
    if then.command is not None and not registry.named(then.command.name, "command"):
        missing |= {("command", then.command.name)} if ":" in then.command.name else set()
    if then.model_package is not None and not shipped(registry, str(layer.get("model"))):
        missing |= {("model", str(layer["model"]))} if "model" in layer else set()
    if not missing:
        return
    words = [_whose(kind, id, then) for kind, id in sorted(missing)]
    packages = {id.partition(":")[0] for _, id in missing if ":" in id}
    there = [reason for package in sorted(packages) for reason in _why(package, registry)]
    raise LdmError(
        f"the picture was made by plugins that are not installed: {', '.join(words)}."
        + "".join(f" {reason}" for reason in there),
        install(packages, then),
    )


def _whose(kind: str, id: str, then: Manifest) -> str:
    distribution, colon, name = id.partition(":")
    if not colon:
        return f"{kind} '{id}'"
    return f"{kind} '{name}' of {distribution} {packages_of(then).get(distribution, '')}".rstrip()


def _why(package: str, registry: Registry) -> Iterator[str]:
    """Why a package that is installed does not offer what it did."""
    try:
        now = version(package)
    except (PackageNotFoundError, ValueError):
        return
    failures = [f for f in registry.failures if canonical(f.distribution) == canonical(package)]
    if failures:
        yield f"{package} {now} is installed and not loaded: {failures[0].reason}."
    elif package in imported(registry):
        yield f"{package} {now} is installed, and offers nothing of that name."
    else:
        yield f"{package} {now} is installed, and not loaded: `ldm plugins list` shows what is."


def packages_of(then: Manifest) -> dict[str, str]:
    """The version of each package of then that a manifest knows."""
    return {**then.imported, **then.versions}


def install(packages: Iterable[str], then: Manifest) -> str:
    """The command that installs packages as they were, in words; empty where none can be named."""
    words = []
    for package in sorted(packages):
        release = packages_of(then).get(package, "")
        if NAME.fullmatch(package):
            words.append(f"{package}=={release}" if VERSION.fullmatch(release) else package)
    look = "`ldm plugins list` shows those that are installed; nothing is installed for a picture"
    return f"{look} by itself: `pip install {' '.join(words)}` does it." if words else f"{look}."


def with_options_of_then(layer: Layer, then: Manifest, registry: Registry) -> Layer:
    """A recipe without values that are a plugin's default still, and of another type than it
    declares, which it alone can set.

    Raises:
        LdmError: a plugin has an option no longer; all of them are named, and the command that
            installs the release of then.
    """
    gone: list[tuple[Plugin, str, Any]] = []

    def change(kind: str, choice: Layer) -> Layer:
        plugin = only(registry, kind, choice["name"])
        if plugin is None:
            return choice
        values = {name: value for name, value in choice.items() if name != "name"}
        gone.extend((plugin, n, v) for n, v in values.items() if n not in plugin.options)
        kept = {n: v for n, v in values.items() if not _undeclared(plugin.options.get(n), v)}
        return {"name": choice["name"], **kept}

    changed = changed_choices(layer, registry, change)
    if gone:
        words = [_gone(plugin, name, value, then) for plugin, name, value in gone]
        packages = {plugin.distribution for plugin, _, _ in gone}
        raise LdmError(
            f"the picture cannot be made again: {'; '.join(words)}.", back(packages, then)
        )
    return changed


def _gone(plugin: Plugin, name: str, value: Any, then: Manifest) -> str:
    release = packages_of(then).get(plugin.distribution, "of then")
    return (
        f"{plugin.distribution} {release} had the option '{name}' (here {brief(value)}) of the "
        f"{plugin.kind} '{plugin.name}', and {plugin.distribution} {plugin.version} has it not"
    )


def back(packages: Iterable[str], then: Manifest) -> str:
    """The command that installs packages as they were, where they are another release now."""
    changed = [p for p in packages if packages_of(then).get(p, "") != versions([p]).get(p)]
    return install(changed, then) if changed else "`ldm plugins show` tells what it has."


def _undeclared(option: Option | None, value: Any) -> bool:
    """Whether a value is an option's default, and not of the type that the option declares."""
    if option is None or option.kind is not None or saved_default(option) != value:
        return False
    try:
        option.check(value, "")
    except LdmError:
        return True
    return False


def package_differences(then: Manifest, registry: Registry) -> list[str]:
    """One line for each package that is another now, or was not imported then."""
    was = packages_of(then)
    now = versions(was) | {n: v for n, v in imported(registry).items() if n in was}
    notes = differences(was, now)
    if then.family is None:  # of a release that did not say what was imported
        return notes
    more = {n: v for n, v in imported(registry).items() if n not in was}
    return notes + [f"{name}: not imported then, {release} now" for name, release in more.items()]


def option_notes(then: Manifest, layer: Layer, registry: Registry) -> list[str]:
    """One line for each option that a plugin has now, and had not then.

    Args:
        layer: the picture's recipe, in full where the manifest has it so.
    """
    notes: list[str] = []

    def look(kind: str, choice: Layer) -> Layer:
        plugin = only(registry, kind, choice["name"])
        for name, option in ({} if plugin is None else plugin.options).items():
            value = saved_default(option)
            if name in choice or value is UNSAVED or isinstance(option.default, ModelsOwn):
                continue
            notes.append(
                f"the {kind} '{choice['name']}' has an option '{name}' now, which is left at its "
                f"default, {brief(value)}"
            )
        return choice

    if then.family is not None:
        changed_choices(layer, registry, look)
    return notes


def family_notes(then: Manifest, now: Composition) -> list[str]:
    """A line where another family reads the model now."""
    id = now.info.family_id
    if then.family is None or same(then.family, id):
        return []
    return [f"the family {then.family} read the model then, {id} now"]


def check_family(then: Manifest, registry: Registry, error: LdmError) -> None:
    """Say of a model that no family reads which package's did.

    Raises:
        LdmError: the package of then is not there.
    """
    if then.family is None or registry.named(then.family, "family"):
        return
    package = then.family.partition(":")[0]
    raise LdmError(
        f"the picture's model was read by the {_whose('family', then.family, then)}, which is not "
        f"installed: {error.message}",
        install([package], then),
    ) from error
