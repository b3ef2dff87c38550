"""Composition: names become typed parts, options are checked, before any weight is read."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ldm_core.arguments import checks_arguments
from ldm_core.composition.added import joined, settled
from ldm_core.composition.admitted import admitted, allowed_by_name, trust_of
from ldm_core.composition.companions import accompanied
from ldm_core.composition.composition import OF_A_CALL, Composition
from ldm_core.composition.fast import faster
from ldm_core.composition.fitting import BESIDE, check_conditioning, check_inputs, fitted
from ldm_core.composition.linear import check_walk
from ldm_core.composition.named_files import in_full_everywhere
from ldm_core.composition.nested import only
from ldm_core.composition.noise import check_noise
from ldm_core.composition.parts import by_its_word, check_choices, choices_of, make, same_plugin
from ldm_core.composition.recipe import (
    KEYS,
    LISTS,
    STAGES,
    TRUST,
    Layer,
    as_layer,
    lay,
    read_recipe,
)
from ldm_core.composition.short_names import owned
from ldm_core.composition.whose_model import failure, inspected, own_recipe
from ldm_core.contracts import Family, Kernel, ModelInfo, Phase
from ldm_core.errors import LdmError, LdmNote, did_you_mean
from ldm_core.model import place
from ldm_core.model.lora import Lora, find_loras
from ldm_core.model.recognition import lasting
from ldm_core.plugins.blame import OWN
from ldm_core.plugins.owners import Owners
from ldm_core.plugins.registry import Plugin, Registry

DEFAULT_STEPS = 50  # where neither the family nor a person says
RESERVED = {*OF_A_CALL}
"""Names that no input can have."""
OF_MODEL = ("model", "model_config", "components")
"""Those that say which model."""
OF_WEIGHTS = (
    "model", "model_config", "components", "device", "dtype", "compute_dtype", "memory", "fast",
)  # fmt: skip
"""Keys of a recipe that belong to loaded weights."""


@checks_arguments
def compose(
    chosen: Mapping[str, Any],
    registry: Registry | None = None,
    recipe: Path | Mapping[str, Any] | None = None,
    *,
    family_id: str | None = None,
) -> Composition:
    """Resolve a recipe with choices laid over it.

    Args:
        registry: the plugins to choose from; those of the installed packages by default, of which
            only such are imported as the recipe's ``[plugins]`` admits.
        family_id: of the family that is taken where several claim the model, such as read it then.
    Raises:
        LdmError: an unknown model, plugin or option; a folder that is no model or whose weights
            are missing, cut off or pickled; abilities that the model lacks.
    """
    layer = read_recipe(recipe) if isinstance(recipe, Path) else as_layer(recipe or {})
    over = as_layer(chosen)
    trusted = lay(trust_of(layer), trust_of(over))
    registry = admitted(registry, trusted)
    layer = lay(_without(layer, TRUST), _without(over, TRUST), same_plugin(registry))
    place.check_names(layer)
    check_choices(layer, registry)
    layer = in_full_everywhere(layer, registry)
    if "model" not in layer:
        raise LdmError("no model is named.", "`ldm models list` shows the models installed.")
    info, family = inspected(layer, registry, family_id)
    layer["model"] = info.source
    if "components" in layer:
        layer["components"] = {
            name: lasting(layer["components"][name], path) for name, path in info.components.items()
        }
    if "model_config" in layer:
        layer["model_config"] = lasting(layer["model_config"], info.folder)
    own = own_recipe(registry, info.folder)
    fast = lay(own, layer).get("fast")
    own, layer = _without(own, "fast"), _without(layer, "fast")
    below = dict(own)
    try:
        loras = _loras(_all_loras(own, layer))
        composition = assemble(info, registry, family, own, layer, loras)
    except LdmError as error:
        of_model = {key: layer[key] for key in OF_MODEL if key in layer}

        def alone(its_own: Layer) -> None:
            its_own, bare = dict(its_own), dict(of_model)
            assemble(info, registry, family, its_own, bare, _loras(_all_loras(its_own, bare)))

        told = failure(error, registry, info, below, alone)
        if told is None:
            raise
        raise told from error
    if fast is None:
        return composition
    chosen_faster = faster(composition, fast, _with_converters, allowed_by_name(trusted))
    warnings.warn(LdmNote(str(chosen_faster)), stacklevel=2)
    return chosen_faster.composition


def recompose(composition: Composition, changes: Mapping[str, Any]) -> Composition:
    """A composition with other choices, on the same model.

    Args:
        changes: None in place of a choice takes it back, so that the model's own is in force.
    Raises:
        LdmError: as of `compose`, or a change of what belongs to the weights.
    """
    layer, own = as_layer(changes), composition.own
    if TRUST in layer:
        raise LdmError(f"'{TRUST}' is said when a pipeline is made; load another one for it.")
    for key in OF_WEIGHTS:
        if key in layer:
            raise LdmError(f"'{key}' belongs to the weights; load another pipeline for it.")
    back = {key for key, value in changes.items() if value is None and key not in OF_WEIGHTS}
    for key in sorted(back - {*KEYS}):
        raise LdmError(f"a recipe has no key '{key}'.{did_you_mean(key, KEYS)}")
    kept = {key: value for key, value in composition.chosen.items() if key not in back}
    chosen = lay(kept, layer, same_plugin(composition.registry))
    chosen = in_full_everywhere(chosen, composition.registry)
    loras = composition.loras
    if "loras" in changes:
        loras = _loras(_all_loras(own, chosen))
    return assemble(composition.info, composition.registry, composition.family, own, chosen, loras)


def _all_loras(own: Layer, chosen: Layer) -> Layer:
    """The layer that says which LoRA there are, those of the one below among them."""
    below = settled(own.get("loras", []))
    if "loras" not in chosen:
        if below:
            own["loras"] = below
        return own
    chosen["loras"] = joined(chosen["loras"], below)
    return chosen


def _loras(layer: Layer) -> tuple[Lora, ...]:
    """The LoRA files that a layer names, whose paths it then names in full."""
    if not layer.get("loras"):
        return ()
    loras = find_loras(layer["loras"])
    layer["loras"] = [{"path": lasting(lora.source, lora.file), **lora.entry} for lora in loras]
    return loras


def assemble(
    info: ModelInfo,
    registry: Registry,
    family: Family,
    own: Layer,
    chosen: Layer,
    loras: tuple[Lora, ...],
) -> Composition:
    """The parts that defaults and choices name, seen to go together.

    Args:
        own: what the folder's own recipe chooses.
        chosen: what a person chooses over that.
    Raises:
        LdmError: one is missing, or they do not fit the model or each other.
    """
    same = same_plugin(registry)
    defaults = accompanied(info, own, registry, same).recipe
    companions = accompanied(info, lay(own, chosen, same), registry, same)
    recipe = {"num_inference_steps": DEFAULT_STEPS, **companions.recipe}
    recipe |= {key: settled(recipe[key]) for key in LISTS if key in recipe}
    place.check(recipe)
    used: list[Plugin] = []
    owners = Owners(registry.plugins)
    owners.add(family, owners.of(family, "family"))
    fit = partial(fitted, info=info, place=place.names(recipe), owners=owners)
    parts: dict[str, list[Any]] = {key: [] for key in (*STAGES, *LISTS)}
    for key, choice in choices_of({**recipe, "converters": _converters(recipe)}):
        if key != "spacing":
            part = make(key, choice, registry, used, defaults, fit, owners)
            parts[key].append(fit(LISTS.get(key, key), part))
    if parts["scheduler"]:
        rule, own_recipe = parts["scheduler"][0].spacing, recipe
        chosen_now = lay(own, chosen, same)
        with owners.blamed(parts["scheduler"][0], "while it said which spacing goes with it"):
            recipe = _with_spacing(recipe, chosen_now, defaults, rule, info, registry)
        companions = replace(companions, own_spacing=recipe is not own_recipe)
    if "spacing" in recipe:
        said_by = owners.of(parts["scheduler"][0]) if companions.own_spacing else None
        with by_its_word(said_by, "by the spacing that goes with it"):
            spacing = make("spacing", recipe["spacing"], registry, used, defaults, fit, owners)
        parts["spacing"].append(fit("spacing", spacing))
    for key in STAGES:
        if not parts[key]:
            raise LdmError(f"no {key} is chosen, and the family {info.family} has no default.")
    _check_lengths(recipe, info)
    check_noise(recipe, info)
    scheduler, guidance = parts["scheduler"][0], parts["guidance"][0]
    conditioning, converters = tuple(parts["conditioning"]), parts["converters"]
    if "memory" in recipe and any(part.phase is Phase.PLACEMENT for part in converters):
        raise LdmError(
            "the recipe's memory plans where weights lie, and its converters say so themselves; "
            "leave one of them out."
        )
    for converter in converters:
        with owners.blamed(converter, BESIDE):
            converter.beside([other for other in converters if other is not converter])
    attention = _attention(parts["attention"][0], recipe)
    owners.passes_to(parts["attention"][0], attention)
    for converter in converters:
        with owners.blamed(converter, BESIDE):
            converter.within(recipe, attention)
    for part in conditioning:
        check_inputs(part, owners)
    ours = all(map(owners.is_ours, conditioning))
    with nullcontext() if ours else owners.blamed(None, BESIDE):
        check_conditioning(conditioning, info)
    with owners.blamed(guidance, BESIDE):
        _ = guidance.embedded_scale
    if guidance.embedded_scale is not None and "guidance_embeds" not in info.abilities:
        raise LdmError(
            f"the model '{info.source}' (family {info.family}) was not distilled to take its "
            "guidance as a number; choose the guidance 'classifier_free'."
        )
    if scheduler.needs_variance and not info.learned_variance:
        raise LdmError(
            f"the model '{info.source}' (family {info.family}) predicts no variance, which the "
            "scheduler is set to read; choose the variance 'fixed_small'."
        )
    composition = Composition(
        info=info,
        registry=registry,
        family=family,
        defaults=defaults,
        own=own,
        chosen=chosen,
        recipe=recipe,
        companions=companions,
        plugins=tuple(used),
        scheduler=scheduler,
        spacing=parts["spacing"][0],
        guidance=guidance,
        attention=attention,
        encoder=parts["encoder"][0],
        decoder=parts["decoder"][0],
        conditioning=conditioning,
        denoisers=tuple(parts["denoisers"]),
        observers=tuple(parts["observers"]),
        converters=tuple(sorted(converters, key=lambda part: part.phase)),
        loras=loras,
        owners=owners,
    )
    check_walk(composition)
    return composition


def placed(composition: Composition, converters: Sequence[Layer]) -> Composition:
    """A composition with converters beside its own in place of a plan for its memory.

    Args:
        converters: choices, as in a recipe.
    """
    own, chosen = (_without(layer, "memory") for layer in (composition.own, composition.chosen))
    if converters:
        chosen["converters"] = [*composition.recipe.get("converters", []), *converters]
    return assemble(
        composition.info, composition.registry, composition.family, own, chosen, composition.loras
    )


def _with_converters(composition: Composition, converters: list[Layer]) -> Composition:
    """A composition with these entries in place of its own ``converters``."""
    chosen = {**composition.chosen, "converters": converters}
    return assemble(
        composition.info,
        composition.registry,
        composition.family,
        composition.own,
        chosen,
        composition.loras,
    )


def _without(layer: Layer, key: str) -> Layer:
    return {name: value for name, value in layer.items() if name != key}


def _attention(kernel: Kernel, recipe: Layer) -> Kernel:
    """The kernel under the name that it has in the recipe, once it is seen to have a place.

    Raises:
        LdmError: this machine lacks what it needs.
    """
    name = recipe["attention"]["name"]
    if isinstance(name, str) and not kernel.members:
        kernel = replace(kernel, name=name)
    if all(member.lacks for member in kernel.members or (kernel,)):
        kernel.on("", "")  # which says what they lack
    return kernel


def _converters(recipe: Layer) -> list[Layer]:
    """The choices of converters: those that are listed, and those that other keys stand for."""
    choices = list(recipe.get("converters", []))
    if recipe.get("loras"):
        choices.append({"name": "ldm-core:lora", "files": recipe["loras"]})
    names = place.names(recipe)
    if names.dtype not in ("auto", "float32") and names.compute_dtype in ("auto", "float32"):
        choices.append({"name": "ldm-core:stored_weights"})
    return choices


def _with_spacing(
    recipe: Layer, chosen: Layer, defaults: Layer, rule: Any, info: ModelInfo, registry: Registry
) -> Layer:
    """The recipe with the spacing that goes with a scheduler, where no spacing is chosen and the
    scheduler is another than the model's, or the model has none."""
    if rule is None or "spacing" in chosen:
        return recipe
    name, own = recipe["scheduler"]["name"], defaults.get("scheduler", {}).get("name")
    same = same_plugin(registry)
    if "spacing" in defaults and own is not None and same("scheduler", name, own):
        return recipe
    choice = rule(info)
    if choice is None:
        return recipe
    scheduler = only(registry, "scheduler", name)
    owner = OWN if scheduler is None else scheduler.distribution
    return {**recipe, **owned(as_layer({"spacing": choice}), registry, owner)}


def _check_lengths(recipe: Layer, info: ModelInfo) -> None:
    """See that the model can draw each length that a recipe names, whatever the others are."""
    lengths: dict[str, int] = {side: recipe[side] for side in ("height", "width") if side in recipe}
    lengths |= recipe.get("extent", {})
    info.latents.check({**info.default_extent, **lengths}, info.default_extent)
