"""A pipeline: a composition on weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from ldm_core.arguments import checks_arguments
from ldm_core.composition.compose import compose, recompose
from ldm_core.composition.composition import Composition
from ldm_core.composition.noise import noise_kind
from ldm_core.contracts import Extent, Medium, Model, Noise, Plan, Request, Seed, Step
from ldm_core.errors import LdmError
from ldm_core.media.arrays import check_latents
from ldm_core.media.manifest import make_manifests
from ldm_core.media.shown import check_output_type
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.point import Point
from ldm_core.numerics.seeded_noise import SeededNoise
from ldm_core.plugins.registry import Registry
from ldm_core.run.allowance import within_memory
from ldm_core.run.call import CallArguments
from ldm_core.run.completing import completed
from ldm_core.run.decoding import Latents, Rate, Seeds, decoded_alone
from ldm_core.run.encoding import encoded
from ldm_core.run.finite import Finiteness, collected
from ldm_core.run.memory.fitting import Fitting, fitted_to_memory
from ldm_core.run.memory.foreseen import foreseen
from ldm_core.run.memory.release import give_back
from ldm_core.run.notebook import InNotebook
from ldm_core.run.observing import failing
from ldm_core.run.outcome import noted, outcome
from ldm_core.run.output import Output
from ldm_core.run.sampling import Sampling
from ldm_core.run.skipping import without
from ldm_core.run.starting import started
from ldm_core.run.weights import (
    Weights,
    at_rate,
    check_kernel,
    check_reading,
    load_model,
    prepare,
)


@dataclass(frozen=True, eq=False, repr=False)
class Pipeline(InNotebook):
    """Generates images from one composition; never changes. `replace` makes another.

    Example::

        pipe = Pipeline.from_pretrained("shapes")
        out = pipe("a large red circle on a blue background", seed=7)
        faster = pipe.replace(scheduler="dpmpp_2m", spacing="karras")

    Attributes:
        weights: the model that runs are made with, read and converted when it is first needed.
        unconverted: the model as it was read, shared by all pipelines made from this one.
        fitting: where weights lie, where the recipe says how much memory there is.
    """

    composition: Composition
    weights: Weights
    unconverted: Weights = field(repr=False)
    fitting: Fitting | None = field(default=None, repr=False)

    @classmethod
    @checks_arguments
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
        pipe = cls.from_composition(compose(chosen, registry, layer))
        _ = pipe.model
        return pipe

    @classmethod
    @checks_arguments
    def from_composition(
        cls, composition: Composition, around: Callable[[Callable[[], Model]], Model] | None = None
    ) -> Self:
        """A pipeline of a composition that is already checked. Its weights are read when they are
        first needed.

        Args:
            around: ``around(load)`` is called in place of ``load()``, for what is to be done just
                before the weights are first read, or after.
        """
        fitting = Fitting() if "memory" in composition.recipe else None

        def load() -> Model:
            return load_model(fitting.placed(composition) if fitting else composition)

        whole = Weights.read(load, around)
        if fitting is not None:
            fitting.places(whole)
        return cls(composition, fitted_to_memory(composition, whole, fitting), whole, fitting)

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

    @checks_arguments
    def replace(self, **changes: Any) -> Self:
        """Another pipeline on the same weights, with other plugins, options or LoRA.

        Raises:
            LdmError: unknown plugins or options, a LoRA that does not fit the model, or converters
                that act while weights are read and are not those that these were read with.
        """
        composition = recompose(self.composition, changes)
        if self.unconverted.loaded:
            check_kernel(composition, self.unconverted.model.place)
        if not {"loras", "converters"} & changes.keys():
            composition = replace(composition, converters=self.composition.converters)
            return type(self)(composition, self.weights, self.unconverted, self.fitting)
        check_reading(self.composition, composition)
        prepare(composition)
        weights = fitted_to_memory(composition, self.unconverted, self.fitting)
        other = type(self)(composition, weights, self.unconverted, self.fitting)
        if self.unconverted.loaded:
            _ = other.model  # what does not fit is said here, not at the first call
        return other

    def at_rate(self, frame_rate: float | None) -> Self:
        """The pipeline whose latents are those of videos at a frame rate, on the same weights; this
        one where they are the same, as for all models but those whose sound beside a video lasts as
        long as it does.

        Args:
            frame_rate: frames a second; None for the model's own.
        """
        composition = self.composition.at_rate(frame_rate)
        if composition is self.composition:
            return self
        composition = replace(composition, converters=self.composition.converters)
        weights = at_rate(self.weights, composition)
        return type(self)(composition, weights, self.unconverted, self.fitting)

    @checks_arguments
    def batches_of(self, call: CallArguments) -> Iterator[Output]:
        pipe = self.at_rate(call.frame_rate)
        if call.guidance_scale is not None:
            pipe = pipe.replace(guidance={"scale": call.guidance_scale})
        parts = pipe.composition
        check_output_type(call.output_type, parts.decoder.kind, parts.info.image_channels)
        seeds, inputs = call.images()
        plan = parts.plan(inputs, seeds, call.extent, call.num_inference_steps, call.frame_rate)
        if call.skip is not None:
            plan = without(parts, plan, call.skip)
        return pipe.outputs(foreseen(parts, parts.batches(plan, call.batch_size)), call)

    @checks_arguments
    def outputs(self, plans: Sequence[Plan], call: CallArguments) -> Iterator[Output]:
        """The outputs of several plans in turn, in smaller parts where memory does not suffice."""

        def output(plan: Plan) -> Output:
            plan = completed(self, plan)
            with collected() as walks, failing(walks):
                latents = self.sample(plan, call.on_step)
            return self.output(latents, plan.request, call.output_type, walks)

        return self.within_memory(plans, output)

    def within_memory(
        self, plans: Sequence[Plan], make: Callable[[Plan], Output]
    ) -> Iterator[Output]:
        """The outputs of plans, one after the other, each in smaller parts where memory does not
        suffice, see `ldm_core.run.allowance.within_memory`.

        Args:
            make: what comes of a plan, in one batch.
        """
        return within_memory(
            plans, make, Plan.batches, lambda plan: len(plan.request.seeds), lambda: self.model
        )

    @checks_arguments
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
        rated = self.at_rate(request.frame_rate)
        if rated is not self:
            return rated.output(latents, request, output_type, walks)
        parts = self.composition
        check_output_type(output_type, parts.decoder.kind, parts.info.image_channels)
        self._check_latents("latents", latents)
        kept = parts
        if self.fitting is not None:
            kept = self.fitting.kept(parts)
            give_back()  # what sampling took, before decoding takes its own
        with parts.owners.blamed(None, "while it said what it reads"):
            manifests = list(make_manifests(kept, request, self.model.place))
        return outcome(self, latents, request, manifests, output_type, walks)

    @checks_arguments
    def sample(self, plan: Plan, on_step: Callable[[Step], None] | None = None) -> Tensor:
        """The final latents of a plan, (batch, channels, ...) float32, in one batch."""
        sampling = self.start(plan)
        return sampling.walk(sampling.x, on_step=on_step)

    @checks_arguments
    def start(self, plan: Plan, noise: Noise | None = None) -> Sampling:
        """A run of a plan, at its first x.

        Args:
            noise: what the run draws from; the images' seeds where not given.
        """
        return self._begin(plan, noise)

    @checks_arguments
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
        rated = self.at_rate(plan.request.frame_rate)
        if rated is not self:
            return rated.resume(plan, x, point, noise)
        self._check_latents("x", x)
        if tuple(x.shape) != (
            shape := (len(plan.request.seeds), *self._shape(plan.request.extent))
        ):
            raise LdmError(f"x has the shape {tuple(x.shape)}, and what is asked for has {shape}.")
        resumed = plan.grid[0] == point
        plan = plan if resumed else self.composition.resumed(plan, point)
        return self._begin(plan, noise, x.to(self.model.latents_device))

    @torch.no_grad()
    def _begin(self, plan: Plan, noise: Noise | None, x: Tensor | None = None) -> Sampling:
        rated = self.at_rate(plan.request.frame_rate)
        if rated is not self:
            return rated._begin(plan, noise, x)
        return started(self, plan, noise, x)

    @checks_arguments
    def noise(self, seeds: Sequence[Seed], extent: Extent) -> SeededNoise:
        """The noise of these images, of the recipe's kind, one stream each, shaped as latents."""
        kind = noise_kind(self.composition.recipe)
        return SeededNoise(seeds, self._shape(extent), self.model.latents_device, kind)

    @checks_arguments
    def initial_scale(self, grid: Grid) -> float:
        """The standard deviation of x at the start of a grid, as the scheduler wants it."""
        return self.composition.initial_scale(grid)

    @checks_arguments
    @torch.no_grad()
    def encode(self, data: Any, seed: Seed | Sequence[Seed] = 0) -> Tensor:
        """Latents (batch, channels, ...) float32 of images, or of a tensor of other data.

        Args:
            data: images are files, PIL images, arrays and tensors, one or several, as of
                `ldm_core.media.pixels.to_pixels`.
            seed: of the first, or one for each, for an encoder that draws.
        Raises:
            LdmError: it is none of these, or of a size that the model does not take.
            NotFiniteError: latents are not finite; it holds the others.
        """
        return encoded(self, data, seed)

    @checks_arguments
    def medium(self, latents: Latents, seed: Seeds = 0, frame_rate: Rate = None) -> Medium:
        """What latents show; where that is not finite it is said.

        Args:
            latents: (batch, channels, ...), or what a call gave of ``output_type="latent"``.
            seed: of a decoder that draws, as of `encode`.
            frame_rate: at which they were drawn, which an `Output` says itself; needed of a tensor
                where a video's sound lies in it at places that follow the rate.
        Raises:
            LdmError: they are of another shape, or their frame rate is not known and counts.
        """
        return noted(self, self.decoded(latents, seed, frame_rate))

    @checks_arguments
    def decoded(self, latents: Latents, seed: Seeds = 0, frame_rate: Rate = None) -> Medium:
        """As `medium`, finite or not; in parts where memory does not suffice, which is said."""
        return decoded_alone(self, latents, seed, frame_rate)

    @checks_arguments
    def decode(self, latents: Latents, seed: Seeds = 0, frame_rate: Rate = None) -> Tensor:
        """The data of what latents show, as of `medium`, float32."""
        return self.medium(latents, seed, frame_rate).data

    def _check_latents(self, name: str, latents: Tensor) -> None:
        check_latents(name, latents, self._shape(self.composition.info.default_extent))

    def _shape(self, extent: Extent) -> tuple[int, ...]:
        """Of one image's latent."""
        return self.composition.info.latents.shape(extent)
