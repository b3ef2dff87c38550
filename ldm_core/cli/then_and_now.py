"""What a picture was made with that is not there now, or is another: refused with the command that
brings it back, or said."""

from __future__ import annotations

from typing import Any

from ldm_core.composition.composition import Composition
from ldm_core.composition.full_recipe import UNSAVED, saved_default
from ldm_core.composition.nested import changed_choices, only
from ldm_core.composition.reach import Reach
from ldm_core.composition.recipe import Layer
from ldm_core.composition.short_names import shipped
from ldm_core.contracts.guidance import ModelsOwn
from ldm_core.errors import LdmError
from ldm_core.media.manifest_gone import another, back, install, not_installed, packages_of, whose
from ldm_core.media.manifest_names import canonical, id_now, same
from ldm_core.media.manifest_packages import differences, imported, versions
from ldm_core.media.manifest_record import Manifest
from ldm_core.plugins.options import Option
from ldm_core.plugins.registry import Plugin, Registry
from ldm_core.values import brief


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
    if missing:
        raise not_installed(missing, then, registry)


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
        if another(plugin.distribution, then):  # else nobody had it, as composing says
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
    package = plugin.distribution
    return (
        f"{package} {packages_of(then)[package]} had the option '{name}' (here {brief(value)}) of "
        f"the {plugin.kind} '{plugin.name}', and {package} {plugin.version} has it not"
    )


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
    was, loaded = packages_of(then), imported(registry)
    spelt = {canonical(name): name for name in was}
    own = {spelt[canonical(n)]: v for n, v in loaded.items() if canonical(n) in spelt}
    notes = differences(was, versions(was) | own)
    if then.family is None:  # of a release that did not say what was imported
        return notes
    more = {n: v for n, v in loaded.items() if canonical(n) not in spelt}
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


def family_of(then: Manifest, registry: Registry) -> str | None:
    """The id of the family that read a picture's model, as its package spells its name now."""
    return None if then.family is None else id_now("family", then.family, registry)


def check_family(then: Manifest, registry: Registry, error: LdmError) -> None:
    """Say of a model that no family reads which package's did.

    Raises:
        LdmError: the package of then is not there.
    """
    if then.family is None or registry.named(then.family, "family"):
        return
    package = then.family.partition(":")[0]
    raise LdmError(
        f"the picture's model was read by the {whose('family', then.family, then)}, which is not "
        f"installed: {error.message}",
        install([package], then),
    ) from error
