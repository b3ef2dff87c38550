"""A pipeline: a composition on loaded weights."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from ldm_core.composition.compose import Composition, compose, is_one_each
from ldm_core.contracts import Grid, Noise, Request, Run, Step
from ldm_core.contracts.family import Model, TakesLora
from ldm_core.errors import LdmError, did_you_mean
from ldm_core.media import pictures as images
from ldm_core.media.manifest import make_manifest
from ldm_core.model import place as placement
from ldm_core.numerics.point import Point
from ldm_core.numerics.seeded_noise import SeededNoise
from ldm_core.plugins.registry import Registry, installed
from ldm_core.run.attention import in_force
from ldm_core.run.sampling import Sampling
from ldm_core.run.stream import Streams


@dataclass(frozen=True)
class Output:
    """What a run made.

    Attributes:
        images: a list of PIL images, or an array or tensor, by the run's ``output_type``.
        seeds, manifests: one for each image.
    """

    images: Any
    seeds: list[int]
    manifests: list[dict[str, Any]]

    @classmethod
    def join(cls, parts: Sequence[Output]) -> Output:
        """What several runs made, as if one had; at least one part, all of one output type."""
        made: Any = [part.images for part in parts]
        if isinstance(made[0], list):
            made = [image for batch in made for image in batch]
        elif isinstance(made[0], Tensor):
            made = torch.cat(made)
        else:
            made = np.concatenate(made)
        seeds = [seed for part in parts for seed in part.seeds]
        return cls(made, seeds, [manifest for part in parts for manifest in part.manifests])


@dataclass(frozen=True, eq=False)
class Pipeline(Streams):
    """Generates images from one composition; never changes. `replace` makes another.

    Example::

        pipe = Pipeline.from_pretrained("shapes")
        out = pipe("a large red circle on a blue background", seed=7)
        faster = pipe.replace(scheduler="dpmpp_2m", spacing="karras")
    """

    composition: Composition
    model: Model

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
        return cls.from_composition(compose(chosen, registry or installed(), layer))

    @classmethod
    def from_composition(cls, composition: Composition) -> Self:
        """Load the weights for a composition that is already checked."""
        place = placement.resolve(composition.recipe)
        _check_device(composition, place.device)
        put = _adapter(composition)
        return cls(composition, put(composition.family.load(composition.info, place)))

    @property
    def recipe(self) -> dict[str, Any]:
        """Every choice in force: the model's defaults with yours laid over them."""
        return dict(self.composition.recipe)

    def replace(self, **changes: Any) -> Self:
        """Another pipeline on the same weights, with other plugins, options or LoRA.

        Raises:
            LdmError: unknown plugins or options, or a LoRA that does not fit the model.
        """
        composition = self.composition.replace(changes)
        _check_device(composition, self.model.device)
        model = self.model
        if composition.loras is not self.composition.loras:
            model = _adapter(composition)(model.base or model)
        return type(self)(composition, model)

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        *,
        seed: int | Sequence[int] | None = None,
        num_images_per_prompt: int = 1,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        width: int | None = None,
        height: int | None = None,
        batch_size: int | None = None,
        output_type: str = "pil",
        on_step: Callable[[Step], None] | None = None,
        on_batch: Callable[[Output], None] | None = None,
        **inputs: Any,
    ) -> Output:
        """Make images.

        Args:
            prompt: one, or one for each image.
            seed: of the first image, the next ones counting up; or one for each image, which also
                says how many where no input is a list; random where None. An image depends on its
                own seed alone.
            num_images_per_prompt: images of each prompt, one after the other.
            guidance_scale: sets the guidance's option ``scale``.
            batch_size: images computed at once; all of them where None.
            output_type: ``pil``, ``np`` (batch, height, width, 3), ``pt`` (batch, 3, height,
                width) or ``latent`` (batch, channels, ...).
            on_step: called after each evaluation of the denoiser.
            on_batch: called with what each batch made, as soon as it is made.
            inputs: what else the conditioning reads, such as ``negative_prompt``.
        Raises:
            LdmError: bad input, before any sampling.
        """
        if guidance_scale is not None:
            scaled = self.replace(guidance={"scale": guidance_scale})
        else:
            scaled = self
        channels = scaled.composition.info.image_channels
        check_call(output_type, channels, batch_size, num_images_per_prompt)
        seeds, spread = per_image({"prompt": prompt, **inputs}, seed, num_images_per_prompt)
        request = scaled.composition.request(spread, seeds, width, height, num_inference_steps)
        size = batch_size or len(seeds)
        made = []
        for start in range(0, len(seeds), size):
            part = images_of(request, start, start + size)
            made.append(scaled.output(scaled.sample(part, on_step), part, output_type))
            if on_batch is not None:
                on_batch(made[-1])
        return Output.join(made)

    def output(self, latents: Tensor, request: Request, output_type: str = "pil") -> Output:
        """What the final latents of a request show, with manifests.

        Args:
            output_type: as of a call.
        """
        made: Any = latents
        if output_type != "latent":
            made = images.from_pixels(self.decode(latents).cpu(), output_type)
        manifests = [
            make_manifest(self.composition, request, index, self.model.place)
            for index in range(len(request.seeds))
        ]
        return Output(made, list(request.seeds), manifests)

    def sample(self, request: Request, on_step: Callable[[Step], None] | None = None) -> Tensor:
        """The final latents of a checked request, (batch, channels, ...) float32, in one batch."""
        run = self.start(request)
        return run.walk(run.x, on_step=on_step)

    def start(self, request: Request, noise: Noise | None = None) -> Sampling:
        """A run of a checked request, at its first x.

        Args:
            noise: what the run draws from; the images' seeds where not given.
        """
        return self._begin(request, self.grid(request), noise)

    def resume(
        self, request: Request, x: Tensor, point: Point, noise: Noise | None = None
    ) -> Sampling:
        """A run of a checked request that goes on with an x, down to this pipeline's last point.

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
        shape = self.model.info.latent_shape(request.width, request.height)
        if tuple(x.shape) != (len(request.seeds), *shape):
            raise LdmError(
                f"x has the shape {tuple(x.shape)}, and what is asked for has "
                f"{(len(request.seeds), *shape)}."
            )
        return self._begin(request, self.grid(request, point), noise, x.to(self.model.device))

    def grid(self, request: Request, point: Point | None = None) -> Grid:
        """The points that a run of a request visits.

        Args:
            point: where the run is resumed, if it is.
        """
        shape = self.model.info.latent_shape(request.width, request.height)
        grid = self.composition.grid(request.num_inference_steps, shape)
        if point is None:
            for conditioning in self.composition.conditioning:
                cut = getattr(conditioning, "cut", None)
                grid = cut(grid, request) if cut else grid
            return grid
        left = grid.onward(point)
        if len(left) < 2:
            raise LdmError(f"nothing is left to do at {point}: the grid ends at {grid[-1]}.")
        strange = not any(own is left[0] for own in grid)
        if strange and hasattr(self.composition.scheduler, "own_grid"):
            name = self.composition.recipe["scheduler"]["name"]
            raise LdmError(
                f"the scheduler '{name}' only walks points of its own, none of which is {point}.",
                "choose another scheduler, or as many steps for both parts of the way.",
            )
        return left

    @torch.no_grad()
    def _begin(
        self, request: Request, grid: Grid, noise: Noise | None, x: Tensor | None = None
    ) -> Sampling:
        parts = self.composition
        own = noise or self.noise(request.seeds, request.width, request.height)

        def draws() -> Tensor:
            return own().to(self.model.device)

        def to_latents(pixels: Tensor) -> Tensor:
            return parts.encoder(self.model, pixels.to(self.model.device), draws)

        scale = self.initial_scale(grid)
        run = Run(self.model, request, grid, draws, to_latents, scale)
        with in_force(parts.attention):
            return Sampling(parts, run, x)

    def noise(self, seeds: Sequence[int], width: int, height: int) -> SeededNoise:
        """The noise of these images, one stream each, shaped as latents of this size."""
        shape = self.model.info.latent_shape(width, height)
        return SeededNoise(seeds, shape, self.model.device)

    def initial_scale(self, grid: Grid) -> float:
        """The standard deviation of x at the start of a grid, as the scheduler wants it."""
        schedule = self.model.info.noise_schedule
        rule = getattr(self.composition.scheduler, "initial_scale", _unit_variance)
        return float(rule(grid[0], schedule.at(schedule.last)))

    @torch.no_grad()
    def encode(self, data: Any, seed: int | Sequence[int] = 0) -> Tensor:
        """Latents of images (PIL, array or tensor in [0, 1]), (batch, channels, ...) float32."""
        pixels = images.to_pixels(data, self.model.info.image_channels).to(self.model.device)
        seeds, _ = per_image({}, seed, len(pixels))
        height, width = pixels.shape[-2:]
        noise = self.noise(seeds, width, height)
        with in_force(self.composition.attention):
            return self.composition.encoder(self.model, pixels, noise)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Pixels of latents, (batch, channels, height, width) in about [-1, 1], float32."""
        with in_force(self.composition.attention):
            return self.composition.decoder(self.model, latents.to(self.model.device))


def _check_device(composition: Composition, device: torch.device) -> None:
    kinds = getattr(composition.attention, "device_types", (device.type,))
    if device.type not in kinds:
        raise LdmError(
            f"the attention '{composition.recipe['attention']['name']}' needs a device of type "
            f"{' or '.join(kinds)}, and this pipeline is on {device.type}.",
            "`ldm plugins list --kind attention` shows the others.",
        )


def _adapter(composition: Composition) -> Callable[[Model], Model]:
    """What lays the composition's LoRA on a model, checked as far as it can be without one."""
    family, loras = composition.family, composition.loras
    if not (loras and isinstance(family, TakesLora)):
        return lambda model: model
    adapt = family.adapter(composition.info, loras)
    return lambda model: replace(adapt(model), base=model)


def _unit_variance(first: Point, last: Point) -> float:
    return math.hypot(first.alpha, first.sigma)


def check_call(output_type: str, channels: int, batch_size: int | None, each: int) -> None:
    """Check what a call says of its output.

    Args:
        channels: of the pictures.
        each: images of each prompt.
    Raises:
        LdmError: there is no such output type, images cannot show it, or a number is too small.
    """
    if output_type not in images.OUTPUT_TYPES:
        raise LdmError(
            f"no output type '{output_type}'.{did_you_mean(output_type, images.OUTPUT_TYPES)} "
            f"There are {', '.join(images.OUTPUT_TYPES)}."
        )
    if output_type == "pil":
        images.check_shown(channels)
    if batch_size is not None and batch_size < 1:
        raise LdmError(f"batch_size must be at least 1, not {batch_size}.")
    if each < 1:
        raise LdmError(f"num_images_per_prompt must be at least 1, not {each}")


def per_image(
    inputs: Mapping[str, Any], seed: int | Sequence[int] | None, each: int
) -> tuple[list[int], dict[str, Any]]:
    """Seeds, and inputs with one entry an image: lists of prompts are repeated `each` times."""
    lengths = {len(v) for v in inputs.values() if is_one_each(v)}
    if len(lengths) > 1:
        raise LdmError(f"inputs have different lengths: {sorted(lengths)}.")
    several_seeds = len(seed) if isinstance(seed, list | tuple) and each == 1 else 1
    count = (lengths.pop() if lengths else several_seeds) * each
    if count == 0:
        raise LdmError("the list of prompts is empty; there is nothing to make.")
    spread = {
        name: [entry for entry in value for _ in range(each)] if is_one_each(value) else value
        for name, value in inputs.items()
    }
    if seed is None:
        return [secrets.randbelow(2**32) for _ in range(count)], spread
    if isinstance(seed, int):
        return [seed + i for i in range(count)], spread
    if len(seed) != count:
        raise LdmError(f"{len(seed)} seeds for {count} images.")
    return list(seed), spread


def images_of(request: Request, start: int, stop: int) -> Request:
    """What was asked of some of the images."""
    part = slice(start, stop)
    return Request(
        inputs={name: values[part] for name, values in request.inputs.items()},
        seeds=request.seeds[part],
        width=request.width,
        height=request.height,
        num_inference_steps=request.num_inference_steps,
    )
