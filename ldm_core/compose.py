"""Composition: names become plain callables, options are checked, before any weight is read."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ldm_core import contracts, placement
from ldm_core.errors import LdmError
from ldm_core.grid import checked
from ldm_core.models import class_name, find_model, read_index
from ldm_core.plugins.options import REQUIRED, bind, check_options, read_options
from ldm_core.plugins.registry import Plugin, Registry
from ldm_core.recipe import (
    LISTS,
    STAGES,
    Layer,
    as_choice,
    as_layer,
    is_ready_made,
    lay,
    read_recipe,
)

MODEL_RECIPE = "ldm.toml"
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
    """

    info: contracts.ModelInfo
    registry: Registry
    family: contracts.Family
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
                    "with it."
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
        for fixed in ("model", "device", "dtype"):
            if fixed in layer:
                raise LdmError(f"'{fixed}' belongs to the weights; load another pipeline for it.")
        chosen = lay(self.chosen, layer)
        return _assemble(self.info, self.registry, self.family, self.defaults, chosen)

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
        known: dict[str, Any] = {}
        for conditioning in self.conditioning:
            known |= conditioning.inputs
        given = {name: value for name, value in inputs.items() if value is not None}
        for name in given:
            if name not in known:
                names = ", ".join(c["name"] for c in self.recipe.get("conditioning", []))
                reads = f"its conditioning ({names}) reads {', '.join(known)}" if known else ""
                raise LdmError(
                    f"this pipeline takes no '{name}': {reads or 'it has no conditioning'}."
                )
        spread: dict[str, list[Any]] = {}
        for name, default in known.items():
            if name not in given and default is ...:
                raise LdmError(f"this pipeline needs '{name}'.")
            value = given.get(name, default)
            many = list(value) if isinstance(value, list | tuple) else [value] * len(seeds)
            if len(many) != len(seeds):
                raise LdmError(f"{len(many)} entries of '{name}' for {len(seeds)} images.")
            spread[name] = many
        recipe, info = self.recipe, self.info
        request = contracts.Request(
            inputs=spread,
            seeds=[_seed(seed) for seed in seeds],
            width=recipe.get("width", info.default_size[0]) if width is None else width,
            height=recipe.get("height", info.default_size[1]) if height is None else height,
            num_inference_steps=(
                recipe["num_inference_steps"]
                if num_inference_steps is None
                else num_inference_steps
            ),
        )
        unit = info.scale_factor * info.patch
        for side in (request.width, request.height):
            if side < unit or side % unit:
                raise LdmError(
                    f"the size {request.width}x{request.height} does not fit this model: width and "
                    f"height must be multiples of {unit}, as in "
                    f"{info.default_size[0]}x{info.default_size[1]}."
                )
        self.grid(request.num_inference_steps, info.latent_shape(request.width, request.height))
        for conditioning in self.conditioning:
            conditioning.check(request)
        return request


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
    placement.check(layer.get("device", "auto"), layer.get("dtype", "float32"))
    check_choices(layer, registry)
    if "model" not in layer:
        raise LdmError("no model is named.", "`ldm models list` shows the models installed.")
    info, family = inspect_model(layer["model"], registry)
    layer["model"] = info.source
    defaults = as_layer(info.defaults)
    own = info.folder / MODEL_RECIPE
    if own.is_file():
        defaults = lay(defaults, read_recipe(own))
    return _assemble(info, registry, family, defaults, layer)


def check_choices(layer: Layer, registry: Registry) -> None:
    """Check the plugin names and options of a layer that may lack some; needs no model."""
    for key, choice in _choices(layer):
        if isinstance(choice.get("name"), str):
            _bound(LISTS.get(key, key), choice, registry, [])


def inspect_model(source: str, registry: Registry) -> tuple[contracts.ModelInfo, contracts.Family]:
    """Find a model and the family that knows it, and read what its folder says."""
    folder = find_model(source, registry)
    if Path(source).expanduser().resolve() == folder:
        source = str(folder)  # a manifest must name the folder wherever it is read
    index = read_index(folder)
    claims = []
    for plugin in registry.of_kind("family"):
        family: contracts.Family = bind(plugin.loaded, {})
        if family.matches(index):
            claims.append((plugin, family))
    if not claims:
        raise LdmError(
            f"no installed family knows the model '{source}': its {class_name(index)} is of "
            "another kind.",
            "`ldm plugins list --kind family` shows the families there are.",
        )
    if len(claims) > 1:
        ids = " and ".join(plugin.id for plugin, _ in claims)
        raise LdmError(f"{ids} both claim the model '{source}'; disable one of them.")
    family = claims[0][1]
    return family.inspect(source, folder, index), family


def _assemble(
    info: contracts.ModelInfo,
    registry: Registry,
    family: contracts.Family,
    defaults: Layer,
    chosen: Layer,
) -> Composition:
    recipe = {"num_inference_steps": DEFAULT_STEPS, **lay(defaults, chosen)}
    used: list[Plugin] = []
    made: dict[str, Any] = {key: [] for key in (*STAGES, *LISTS)}
    for key, choice in _choices(recipe):
        made[key].append(_make(key, choice, registry, used))
    for key in STAGES:
        if not made[key]:
            raise LdmError(f"no {key} is chosen, and the family {info.family} has no default.")
    for conditioning in made["conditioning"]:
        if conditioning.ability not in info.abilities:
            raise LdmError(
                f"the model '{info.source}' (family {info.family}) cannot be conditioned by "
                f"'{conditioning.ability}'; it has: {', '.join(sorted(info.abilities)) or 'none'}."
            )
    told = getattr(made["guidance"][0], "embedded_scale", None)
    if told is not None and "embedded_guidance" not in info.abilities:
        raise LdmError(
            f"the model '{info.source}' (family {info.family}) was not distilled to take its "
            "guidance as a number; choose the guidance 'classifier_free'."
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
        **one,
        **several,
    )


def _make(key: str, choice: Layer, registry: Registry, used: list[Plugin]) -> Any:
    name = choice.get("name")
    options = {k: v for k, v in choice.items() if k != "name"}
    if name is None:
        raise LdmError(f"options are set for '{key}', but no {key} is chosen.")
    if is_ready_made(name):
        return _ready_made(key, name, options)
    return _bound(LISTS.get(key, key), choice, registry, used)


def _bound(kind: str, choice: Layer, registry: Registry, used: list[Plugin]) -> Any:
    """A plugin with its options set; options that are plugins themselves are bound first."""
    plugin = registry.find(kind, choice["name"])
    used.append(plugin)
    given = {k: v for k, v in choice.items() if k != "name"}
    hint = f"`ldm plugins show {plugin.name}` describes it."
    options = check_options(plugin.options, given, f"the {kind} '{plugin.name}'", hint)
    for name, option in plugin.options.items():
        inner = options.get(name, option.default)
        if option.kind and inner is not None and inner is not REQUIRED:
            table = as_choice(f"{plugin.name}.{name}", inner)
            options[name] = _make(option.kind, table, registry, used)
    return bind(plugin.loaded, options)


def _ready_made(key: str, thing: Any, options: dict[str, Any]) -> Any:
    """A part given in Python: a function or factory like a plugin's target, or the thing itself."""
    if inspect.isroutine(thing) or inspect.isclass(thing):
        name = f"the {key} {thing.__qualname__}"
        return bind(thing, check_options(read_options(thing), options, name, ""))
    if options:
        raise LdmError(
            f"the {key} is an object made in Python, so its options ({', '.join(options)}) cannot "
            "be set here; make it with them, or give its factory."
        )
    return thing


def _choices(layer: Layer) -> list[tuple[str, Layer]]:
    one = [(key, layer[key]) for key in STAGES if key in layer]
    return one + [(key, choice) for key in LISTS for choice in layer.get(key, [])]


def _seed(seed: Any) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise LdmError(f"a seed is a whole number from 0 to 2^63 - 1, not {seed!r}.")
    return seed
