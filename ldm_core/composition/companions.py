"""What goes with a scheduler or a spacing that a person names: the model says it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ldm_core.composition.parts import inner_choices
from ldm_core.composition.recipe import STAGES, Layer, as_layer, is_ready_made, lay
from ldm_core.composition.short_names import owned, owner_of
from ldm_core.contracts import ModelInfo
from ldm_core.errors import LdmError, PluginError
from ldm_core.plugins.blame import blamed, is_of_others
from ldm_core.plugins.registry import Registry
from ldm_core.values import brief


@dataclass(frozen=True)
class Companions:
    """The choices that a person names, and beneath them those that go with them.

    Attributes:
        recipe: all choices.
        scheduler: the name of the one that spacing and wrappers go with, where it is not the
            model's own.
        keys: of the choices that go with it.
        own_spacing: the scheduler says itself which spacing goes with it, not the model.
    """

    recipe: Layer
    scheduler: str | None = None
    keys: frozenset[str] = frozenset()
    own_spacing: bool = False

    def chose(self, key: str) -> str:
        """Who chose what nobody named."""
        if key == "spacing" and self.own_spacing:
            return "the scheduler"
        return f"model, for {self.scheduler}" if key in self.keys else "model"


def accompanied(
    info: ModelInfo, named: Layer, registry: Registry, same: Callable[[str, Any, Any], bool]
) -> Companions:
    """The choices named over the model's own, and with them what the model says goes with them.

    A scheduler other than the model's brings the options, spacing and wrappers that the model says
    go with it. A spacing brings the options that the model says it has with the scheduler in use.
    With a recipe that names a plugin at every hook point, as a manifest's does, nothing goes.

    Raises:
        LdmError: no such plugin.
    """
    owner = owner_of(info.family_id)
    base = owned(as_layer(info.defaults), registry, owner)
    own: Any = base.get("scheduler", {}).get("name")
    scheduler: Any = named.get("scheduler", {}).get("name", own)
    spacing = _id("spacing", named.get("spacing", {}).get("name"), registry)
    if all("name" in named.get(key, {}) for key in STAGES):
        rest = {key: value for key, value in base.items() if key not in ("scheduler", "spacing")}
        return Companions(lay(rest, named, same))
    if not isinstance(scheduler, str):
        return Companions(lay(base, named, same))
    if isinstance(own, str) and same("scheduler", scheduler, own):
        if spacing is not None:
            beside = _beside(info, registry.find("scheduler", scheduler).id, spacing, registry)
            named_by_model = as_layer({k: beside[k] for k in ("spacing",) if k in beside})
            base |= owned(named_by_model, registry, owner)
        return Companions(lay(base, named, same))
    choice, name, beside = _with_options(named["scheduler"], info, registry, spacing)
    layer = as_layer({k: v for k, v in beside.items() if k != "scheduler"})
    layer = owned(layer, registry, owner)
    keys = {key for key in layer if layer[key] or base.get(key)}
    base |= {key: layer[key] for key in keys}
    recipe = lay(base, {**named, "scheduler": choice}, same)
    return Companions(recipe, name, frozenset(keys - named.keys()))


def _with_options(
    choice: Layer, info: ModelInfo, registry: Registry, spacing: str | None
) -> tuple[Layer, str, Mapping[str, Any]]:
    """A scheduler's choice with the options that go with it and with those that it walks by; the
    name of the one whose points it walks, and what goes with that one."""
    plugin = registry.find("scheduler", choice["name"])
    beside = _beside(info, plugin.id, spacing, registry)
    filled = {**choice}
    own = as_layer({"scheduler": {**beside.get("scheduler", {}), "name": plugin.id}})
    options = owned(own, registry, owner_of(info.family_id))["scheduler"]
    for key, value in options.items():
        tables = isinstance(value, Mapping) and isinstance(choice.get(key), Mapping)
        filled[key] = {**value, **choice[key]} if tables else choice.get(key, value)
    name = plugin.name
    for key, option in plugin.options.items():
        if option.kind != "scheduler":
            continue
        # what the model has of its own stands beside a guidance, and beside no scheduler
        inner = [table for table, _ in inner_choices(plugin, option, choice, registry, {}) or ()]
        walked: list[Layer] = []
        for table in inner:
            if is_ready_made(table.get("name")):
                walked.append(table)
                continue
            if "name" not in table:
                raise LdmError(f"the option '{key}' of the scheduler '{plugin.name}' needs a name.")
            whole, its, with_it = _with_options(table, info, registry, spacing)
            walked.append(whole)
            if not beside:  # a scheduler that walks by others has the points of the first of them
                name, beside = its, with_it
        if walked != inner:
            filled[key] = walked if option.several else walked[0]
    return filled, name, beside


def _beside(
    info: ModelInfo, scheduler: str, spacing: str | None, registry: Registry
) -> Mapping[str, Any]:
    """What a model says goes with a scheduler.

    Raises:
        PluginError: another package's family says something else than a layer of a recipe.
    """
    if not info.family_id:  # nobody's, such as a toy model's
        return info.goes_with(scheduler, spacing)
    family = registry.find("family", info.family_id)
    doing = f"while it said what goes with the scheduler '{scheduler}'"
    with blamed(family, doing):
        beside: Any = info.goes_with(scheduler, spacing)
        if is_of_others(family):
            try:
                if not isinstance(beside, Mapping):
                    raise LdmError(f"it is a layer of a recipe, not {brief(beside)}.")
                as_layer(beside)
            except LdmError as error:
                raise PluginError(family.whose, doing, error) from error
    said: Mapping[str, Any] = beside
    return said


def _id(kind: str, name: Any, registry: Registry) -> str | None:
    return registry.find(kind, name).id if isinstance(name, str) else None
