"""Composition: names become plain callables, options are checked, before any weight is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ldm_core import contracts
from ldm_core.composition.binding import check_choices, choices_of, make
from ldm_core.composition.recipe import LISTS, STAGES, Layer, as_layer, lay, read_recipe
from ldm_core.contracts.family import Family, Lora, ModelInfo, TakesLora
from ldm_core.errors import LdmError, did_you_mean
from ldm_core.model import place as placement
from ldm_core.model.files import MODEL_RECIPE
from ldm_core.model.lora import find_loras
from ldm_core.model.recognition import inspect_model, lasting
from ldm_core.numerics.grid import checked
from ldm_core.plugins.registry import Plugin, Registry

DEFAULT_STEPS = 50  # where neither the family nor a person says


@dataclass(frozen=True)
class Composition:
    """A recipe made ready: each hook point's callable, and what the model folder says.

    Attributes:
        info: the model, from its JSON files.
        defaults: what the family and the folder choose.
        chosen: what the person chose over that.
        recipe: the two laid together, in full.
        plugins: the plugins in use, for manifests.
        loras: the LoRA files laid on the model's weights.
    """

    info: ModelInfo
    registry: Registry
    family: Family
    defaults: Layer
    chosen: Layer
    recipe: Layer
    plugins: tuple[Plugin, ...]
    scheduler: contracts.Scheduler
    spacing: contracts.Spacing
    guidance: contracts.Guidance
    attention: contracts.Attention
    encoder: contracts.Encoder
    decoder: contracts.Decoder
    conditioning: tuple[contracts.Conditioning, ...]
    denoisers: tuple[contracts.DenoiserWrapper, ...]
    observers: tuple[contracts.Observer, ...]
    loras: tuple[Lora, ...] = ()

    @property
    def inputs(self) -> dict[str, Any]:
        """What the conditionings read, each with its default for an image; `...` marks a required
        one."""
        return {n: d for conditioning in self.conditioning for n, d in conditioning.inputs.items()}

    def grid(self, steps: int, latent_shape: tuple[int, ...] | None = None) -> contracts.Grid:
        """The points of a run.

        Args:
            latent_shape: one image's, for spacings that depend on it; of the model's own size
                where not given.
        Raises:
            LdmError: the spacing cannot make that many steps, or the network cannot start there.
        """
        if steps < 1:
            raise LdmError(f"num_inference_steps must be at least 1, not {steps}.")
        schedule = self.info.noise_schedule
        own_grid = getattr(self.scheduler, "own_grid", None)
        if own_grid is not None:
            name = self.recipe["scheduler"]["name"]
            if "spacing" in self.chosen:
                raise LdmError(
                    f"the scheduler '{name}' walks points of its own, so no spacing can be chosen "
                    "with it; choose another scheduler too."
                )
            found = own_grid(schedule, steps)
        else:
            name = self.recipe["spacing"]["name"]
            sees = getattr(self.spacing, "sees_latent_shape", False)
            shape = latent_shape or self.info.latent_shape(*self.info.default_size)
            more: dict[str, Any] = {"latent_shape": shape} if sees else {}
            found = self.spacing(schedule, steps, **more)
        points = checked(found, schedule, f"'{name}'")
        if points[0].alpha == 0 and self.info.prediction_type == "epsilon":
            raise LdmError(
                f"the spacing '{name}' starts where the signal is zero, and there this "
                "epsilon-predicting model says nothing of the picture; choose 'leading'."
            )
        return points

    def replace(self, changes: Mapping[str, Any]) -> Composition:
        """The composition with other choices, on the same model."""
        layer = as_layer(changes)
        for fixed in ("model", "model_config", "device", "dtype", "compute_dtype"):
            if fixed in layer:
                raise LdmError(f"'{fixed}' belongs to the weights; load another pipeline for it.")
        chosen = lay(self.chosen, layer)
        loras = _loras(chosen, self.info, self.family) if "loras" in layer else self.loras
        return _assemble(self.info, self.registry, self.family, self.defaults, chosen, loras)

    def size(self, width: int | None = None, height: int | None = None) -> tuple[int, int]:
        """Width and height of a picture in pixels: those given, or the recipe's, or the model's.

        Raises:
            LdmError: the model cannot draw that size.
        """
        info, recipe = self.info, self.recipe
        width = recipe.get("width", info.default_size[0]) if width is None else width
        height = recipe.get("height", info.default_size[1]) if height is None else height
        unit = info.scale_factor * info.patch
        for side in (width, height):
            if side < unit or side % unit:
                raise LdmError(
                    f"the size {width}x{height} does not fit this model: width and height must be "
                    f"multiples of {unit}, as in {info.default_size[0]}x{info.default_size[1]}."
                )
        if info.square and width != height:
            raise LdmError(
                f"the size {width}x{height} does not fit this model, which draws squares alone."
            )
        return width, height

    def request(
        self,
        inputs: Mapping[str, Any],
        seeds: Sequence[int],
        width: int | None = None,
        height: int | None = None,
        num_inference_steps: int | None = None,
    ) -> contracts.Request:
        """What a person asks of a run, checked: one entry of every input an image.

        Raises:
            LdmError: an unknown or missing input, a size or number of steps that the model cannot
                take.
        """
        known = self.inputs
        given = {name: value for name, value in inputs.items() if value is not None}
        for name in given:
            if name not in known:
                names = ", ".join(c["name"] for c in self.recipe.get("conditioning", []))
                reads = f"its conditioning ({names}) reads {', '.join(known)}" if known else ""
                raise LdmError(
                    f"this pipeline takes no '{name}': {reads or 'it has no conditioning'}."
                    f"{did_you_mean(name, known)}"
                )
        spread: dict[str, list[Any]] = {}
        for name, default in known.items():
            if name not in given and default is ...:
                raise LdmError(f"this pipeline needs '{name}'.")
            value = given.get(name, default)
            many = list(value) if is_one_each(value) else [value] * len(seeds)
            if len(many) != len(seeds):
                raise LdmError(f"{len(many)} entries of '{name}' for {len(seeds)} images.")
            spread[name] = many
        width, height = self.size(width, height)
        steps = num_inference_steps
        request = contracts.Request(
            inputs=spread,
            seeds=[_seed(seed) for seed in seeds],
            width=width,
            height=height,
            num_inference_steps=self.recipe["num_inference_steps"] if steps is None else steps,
        )
        self.grid(request.num_inference_steps, self.info.latent_shape(width, height))
        for conditioning in self.conditioning:
            conditioning.check(request)
        return request


def is_one_each(value: Any) -> bool:
    """Whether an input says something else of each image: a list does, unless it is of tables,
    which are one thing for all images."""
    if not isinstance(value, list | tuple):
        return False
    return not value or not all(isinstance(entry, Mapping) for entry in value)


def compose(
    chosen: Mapping[str, Any], registry: Registry, recipe: Path | Mapping[str, Any] | None = None
) -> Composition:
    """Resolve a recipe with choices laid over it.

    Raises:
        LdmError: an unknown model, plugin or option; a folder that is no model or whose weights
            are missing, cut off or pickled; abilities that the model lacks.
    """
    layer = read_recipe(recipe) if isinstance(recipe, Path) else as_layer(recipe or {})
    layer = lay(layer, as_layer(chosen))
    placement.check_names(layer)
    check_choices(layer, registry)
    if "model" not in layer:
        raise LdmError("no model is named.", "`ldm models list` shows the models installed.")
    info, family = inspect_model(layer["model"], registry, layer.get("model_config"))
    layer["model"] = info.source
    if "model_config" in layer:
        layer["model_config"] = lasting(layer["model_config"], info.folder)
    defaults = as_layer(info.defaults)
    own = info.folder / MODEL_RECIPE
    if own.is_file():
        defaults = lay(defaults, read_recipe(own))
    loras = _loras(layer if "loras" in layer else defaults, info, family)
    return _assemble(info, registry, family, defaults, layer, loras)


def _loras(layer: Layer, info: ModelInfo, family: Family) -> tuple[Lora, ...]:
    """The LoRA files that a layer names, whose paths it then names in full."""
    if not layer.get("loras"):
        return ()
    if not isinstance(family, TakesLora):
        raise LdmError(f"the model '{info.source}' (family {info.family}) takes no LoRA.")
    found = find_loras(layer["loras"])
    layer["loras"] = [
        {"path": lasting(lora.source, lora.file), "scale": lora.scale} for lora in found
    ]
    return found


def _assemble(
    info: ModelInfo,
    registry: Registry,
    family: Family,
    defaults: Layer,
    chosen: Layer,
    loras: tuple[Lora, ...],
) -> Composition:
    recipe = {"num_inference_steps": DEFAULT_STEPS, **lay(defaults, chosen)}
    placement.check(recipe)
    used: list[Plugin] = []
    made: dict[str, Any] = {key: [] for key in (*STAGES, *LISTS)}
    for key, choice in choices_of(recipe):
        made[key].append(make(key, choice, registry, used))
    for key in STAGES:
        if not made[key]:
            raise LdmError(f"no {key} is chosen, and the family {info.family} has no default.")
    for key in ("conditioning", "scheduler", "guidance"):
        made[key] = [_for_model(part, info) for part in made[key]]
    for conditioning in made["conditioning"]:
        if conditioning.ability not in (None, *info.abilities):
            raise LdmError(
                f"the model '{info.source}' (family {info.family}) cannot be conditioned by "
                f"'{conditioning.ability}'; it has: {', '.join(sorted(info.abilities)) or 'none'}."
            )
    for need in sorted(info.needs - {part.ability for part in made["conditioning"]}):
        raise LdmError(
            f"the model '{info.source}' must be conditioned by '{need}', and the recipe's "
            "conditioning has none that does it.",
            "`ldm plugins list --kind conditioning` shows those there are.",
        )
    told = getattr(made["guidance"][0], "embedded_scale", None)
    if told is not None and "embedded_guidance" not in info.abilities:
        raise LdmError(
            f"the model '{info.source}' (family {info.family}) was not distilled to take its "
            "guidance as a number; choose the guidance 'classifier_free'."
        )
    reads_variance = getattr(made["scheduler"][0], "needs_learned_variance", False)
    if reads_variance and not info.learned_variance:
        raise LdmError(
            f"the model '{info.source}' (family {info.family}) predicts no variance, which the "
            "scheduler is set to read; choose the variance 'fixed_small'."
        )
    one: dict[str, Any] = {key: made[key][0] for key in STAGES}
    several: dict[str, Any] = {key: tuple(made[key]) for key in LISTS}
    return Composition(
        info=info,
        registry=registry,
        family=family,
        defaults=defaults,
        chosen=chosen,
        recipe=recipe,
        plugins=tuple(used),
        loras=loras,
        **one,
        **several,
    )


def _for_model(part: Any, info: ModelInfo) -> Any:
    """A part of a recipe, told of the model where it asks for that."""
    fit = getattr(part, "for_model", None)
    return part if fit is None else fit(info)


def _seed(seed: Any) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise LdmError(f"a seed is a whole number from 0 to 2^63 - 1, not {seed!r}.")
    return seed
