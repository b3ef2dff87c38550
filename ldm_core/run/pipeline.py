"""A pipeline: a composition on weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from ldm_core.composition.compose import compose, recompose
from ldm_core.composition.composition import Composition
from ldm_core.contracts import (
    Converter,
    Extent,
    Medium,
    Model,
    Noise,
    PartInfo,
    Plan,
    Request,
    Run,
    Step,
)
from ldm_core.errors import LdmError
from ldm_core.media import pixels
from ldm_core.media.manifest import make_manifest
from ldm_core.media.shown import check_output_type
from ldm_core.model import place
from ldm_core.model.libraries import heard
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.point import Point
from ldm_core.numerics.seeded_noise import SeededNoise
from ldm_core.plugins.registry import Registry, installed
from ldm_core.run.attention import in_force
from ldm_core.run.batches import Generates
from ldm_core.run.call import CallArguments, seeds_for
from ldm_core.run.finite import Finiteness, begun, collected
from ldm_core.run.outcome import encoded, noted, outcome
from ldm_core.run.output import Output
from ldm_core.run.sampling import Sampling
from ldm_core.run.weights import Weights


@dataclass(frozen=True, eq=False)
class Pipeline(Generates):
    """Generates images from one composition; never changes. `replace` makes another.

    Example::

        pipe = Pipeline.from_pretrained("shapes")
        out = pipe("a large red circle on a blue background", seed=7)
        faster = pipe.replace(scheduler="dpmpp_2m", spacing="karras")

    Attributes:
        weights: the model that runs are made with, read and converted when it is first needed.
        unconverted: the model as it was read, shared by all pipelines made from this one.
    """

    composition: Composition
    weights: Weights
    unconverted: Weights = field(repr=False)

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path | None = None,
        *,
        recipe: str | Path | Mapping[str, Any] | None = None,
        registry: Registry | None = None,
        **choices: Any,
    ) -> Self:
        """Load a model with the plugins of your choice.

        Args:
            model: name of an installed model, folder, safetensors file, or Hub id; may come from
                the recipe.
            recipe: a recipe file, or the same as a table.
            registry: the plugins to choose from; those of the installed packages by default.
            choices: any key of a recipe, over the recipe: ``scheduler="ddim"``,
                ``scheduler={"name": "ddim", "eta": 1.0}``, or in Python the thing itself,
                ``scheduler=my_function``; ``loras=["ink.safetensors:0.8"]``; ``device``,
                ``dtype``, ``compute_dtype``, ``num_inference_steps``, ...
        Raises:
            LdmError: whatever can be seen to be wrong, before any weight is read.
        """
        layer = Path(recipe) if isinstance(recipe, str) else recipe
        chosen = {**choices} if model is None else {**choices, "model": str(model)}
        pipe = cls.from_composition(compose(chosen, registry or installed(), layer))
        _ = pipe.model
        return pipe

    @classmethod
    def from_composition(
        cls, composition: Composition, around: Callable[[Callable[[], Model]], Model] | None = None
    ) -> Self:
        """A pipeline of a composition that is already checked. Its weights are read when they are
        first needed.

        Args:
            around: ``around(load)`` is called in place of ``load()``, for what is to be done just
                before the weights are read, or after.
        """

        def load() -> Model:
            return _load(composition)

        whole = Weights(load if around is None else lambda: around(load))
        return cls(composition, _converted(composition, whole), whole)

    @property
    def model(self) -> Model:
        """The model that runs are made with; its weights are read where they are not yet."""
        return self.weights.model

    @property
    def axes(self) -> tuple[str, ...]:
        return self.composition.info.latents.names

    @property
    def recipe(self) -> dict[str, Any]:
        """Every choice in force: the model's defaults with yours laid over them, also a spacing
        that nothing asks, of which a manifest's recipe is free."""
        return dict(self.composition.recipe)

    def replace(self, **changes: Any) -> Self:
        """Another pipeline on the same weights, with other plugins, options or LoRA.

        Raises:
            LdmError: unknown plugins or options, or a LoRA that does not fit the model.
        """
        composition = recompose(self.composition, changes)
        if self.unconverted.loaded:
            where = self.unconverted.model.place
            _check_kernel(composition, where.device.type, str(where.compute_dtype))
        if not {"loras", "converters"} & changes.keys():
            composition = replace(composition, converters=self.composition.converters)
            return type(self)(composition, self.weights, self.unconverted)
        for converter in composition.converters:
            converter.prepare(composition.info)
        other = type(self)(composition, _converted(composition, self.unconverted), self.unconverted)
        if self.unconverted.loaded:
            _ = other.model  # what does not fit is said here, not at the first call
        return other

    def batches_of(self, call: CallArguments) -> Iterator[Output]:
        pipe = self
        if call.guidance_scale is not None:
            pipe = self.replace(guidance={"scale": call.guidance_scale})
        parts = pipe.composition
        check_output_type(call.output_type, parts.decoder.kind, parts.info.image_channels)
        seeds, inputs = call.images()
        plan = parts.plan(inputs, seeds, call.extent, call.num_inference_steps)
        return pipe.outputs(parts.batches(plan, call.batch_size), call)

    def outputs(self, plans: Sequence[Plan], call: CallArguments) -> Iterator[Output]:
        """The outputs of several plans, one after the other."""
        for plan in plans:
            with collected() as walks:
                latents = self.sample(plan, call.on_step)
            yield self.output(latents, plan.request, call.output_type, walks)

    def output(
        self,
        latents: Tensor,
        request: Request,
        output_type: str = "pil",
        walks: Sequence[Finiteness] = (),
    ) -> Output:
        """What the final latents of a request show, with manifests; images that are not finite are
        left out, and stand among its failures.

        Args:
            output_type: as of a call.
            walks: ``finite`` of the runs that led there, for failures to say where; without them
                they say that the final latents are not finite.
        """
        manifests = self.manifests(request)
        return outcome(self, latents, request.seeds, manifests, output_type, walks)

    def manifests(self, request: Request) -> list[dict[str, Any]]:
        """Of each image of a request."""
        where = self.model.place
        count = len(request.seeds)
        return [make_manifest(self.composition, request, i, where) for i in range(count)]

    def sample(self, plan: Plan, on_step: Callable[[Step], None] | None = None) -> Tensor:
        """The final latents of a plan, (batch, channels, ...) float32, in one batch."""
        sampling = self.start(plan)
        return sampling.walk(sampling.x, on_step=on_step)

    def start(self, plan: Plan, noise: Noise | None = None) -> Sampling:
        """A run of a plan, at its first x.

        Args:
            noise: what the run draws from; the images' seeds where not given.
        """
        return self._begin(plan, noise)

    def resume(self, plan: Plan, x: Tensor, point: Point, noise: Noise | None = None) -> Sampling:
        """A run of a plan that goes on with an x, down to this pipeline's last point.

        Its grid is the point and all that is less noisy in the pipeline's own. Conditions are this
        run's own; a start that a conditioning would give, such as a picture, is passed over.

        Args:
            x: (batch, channels, ...) at the point, such as where another run's walk stopped.
            point: where x lies on this model's noise schedule.
            noise: what the run draws from, such as the other's ``run.noise``; the images' seeds,
                from their beginning, where not given.
        Raises:
            LdmError: x is of another shape, nothing is left to do, or the scheduler only walks
                points of its own and this is none of them.
        """
        shape = (len(plan.request.seeds), *self._shape(plan.request.extent))
        if tuple(x.shape) != shape:
            raise LdmError(f"x has the shape {tuple(x.shape)}, and what is asked for has {shape}.")
        resumed = plan.grid[0] == point
        plan = plan if resumed else self.composition.resumed(plan, point)
        return self._begin(plan, noise, x.to(self.model.latents_device))

    @torch.no_grad()
    def _begin(self, plan: Plan, noise: Noise | None, x: Tensor | None = None) -> Sampling:
        parts, device = self.composition, self.model.latents_device
        own = noise or self.noise(plan.request.seeds, plan.request.extent)
        finite = begun(len(plan.request.seeds))

        def draws() -> Tensor:
            return own().to(device)

        def to_latents(data: Tensor) -> Tensor:
            latents = parts.encoder(self.model, data.to(device), draws).to(device)
            finite.encoded(latents)
            return latents

        scale = self.initial_scale(plan.grid)
        run = Run(self.model, plan.request, plan.grid, draws, to_latents, scale)
        with in_force(parts.attention), heard():
            return Sampling(parts, run, x, finite)

    def noise(self, seeds: Sequence[int], extent: Extent) -> SeededNoise:
        """The noise of these images, one stream each, shaped as latents of this extent."""
        return SeededNoise(seeds, self._shape(extent), self.model.latents_device)

    def initial_scale(self, grid: Grid) -> float:
        """The standard deviation of x at the start of a grid, as the scheduler wants it."""
        schedule = self.composition.info.noise_schedule
        return float(self.composition.scheduler.start(grid[0], schedule.at(schedule.last)))

    @torch.no_grad()
    def encode(self, data: Any, seed: int | Sequence[int] = 0) -> Tensor:
        """Latents of images (PIL, array or tensor in [0, 1]), or of other data as the encoder takes
        it, a tensor (batch, channels, ...); (batch, channels, ...) float32.

        Raises:
            NotFiniteError: latents are not finite; it holds the others.
        """
        parts, device = self.composition, self.model.latents_device
        if parts.encoder.kind == "image":
            data = pixels.to_pixels(data, parts.info.image_channels)
        extent = dict(zip(parts.info.latents.names, data.shape[2:], strict=True))
        seeds = seeds_for(len(data), seed)
        noise = self.noise(seeds, extent)
        with in_force(parts.attention), heard():
            latents = parts.encoder(self.model, data.to(device), noise).to(device)
        return encoded(self, latents, seeds)

    def medium(self, latents: Tensor) -> Medium:
        """What latents (batch, channels, ...) show; where that is not finite it is said."""
        return noted(self, self.decoded(latents))

    @torch.no_grad()
    def decoded(self, latents: Tensor) -> Medium:
        """What the decoder gives of latents (batch, channels, ...), finite or not."""
        with in_force(self.composition.attention), heard():
            device = self.model.latents_device
            return self.composition.decoder.medium(self.model, latents.to(device))

    def decode(self, latents: Tensor) -> Tensor:
        """The data of what latents show: of images (batch, channels, height, width) in about
        [-1, 1], float32."""
        return self.medium(latents).data

    def _shape(self, extent: Extent) -> tuple[int, ...]:
        """Of one image's latent."""
        return self.composition.info.latents.shape(extent)


def _load(composition: Composition) -> Model:
    """The model of a composition as it is read, before its converters act."""
    where = place.resolve(composition.recipe)
    _check_kernel(composition, where.device.type, str(where.compute_dtype))
    for converter in composition.converters:
        converter.prepare(composition.info)
    converters = composition.converters

    def loading(part: PartInfo) -> Mapping[str, Any]:
        return {key: value for c in converters for key, value in c.loading(part).items()}

    return composition.family.load(composition.info, replace(where, loading=loading))


def _converted(composition: Composition, whole: Weights) -> Weights:
    """The model that runs are made with."""
    converters = composition.converters
    if not converters:
        return whole

    def convert(model: Model, converter: Converter) -> Model:
        return converter.convert(model)

    return Weights(lambda: reduce(convert, converters, whole.model))


def _check_kernel(composition: Composition, device: str, dtype: str) -> None:
    """See that the attention kernel runs where the model is to be."""
    kernel, name = composition.attention, composition.recipe["attention"]["name"]
    look = "`ldm plugins list --kind attention` shows the others."
    if kernel.devices is not None and device not in kernel.devices:
        raise LdmError(
            f"the attention '{name}' needs a device of type {' or '.join(kernel.devices)}, and "
            f"this pipeline is on {device}.",
            look,
        )
    dtype = dtype.removeprefix("torch.")
    if kernel.dtypes is not None and dtype not in kernel.dtypes:
        raise LdmError(
            f"the attention '{name}' computes in {' or '.join(kernel.dtypes)}, and this pipeline "
            f"in {dtype}.",
            look,
        )
