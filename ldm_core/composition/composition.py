"""A recipe made ready: the parts, and the plan of a run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ldm_core.arguments import checks_arguments
from ldm_core.composition import limits
from ldm_core.composition.companions import Companions
from ldm_core.composition.frame_rate import check_frame_rate
from ldm_core.composition.recipe import Layer
from ldm_core.composition.spread import spread
from ldm_core.composition.typed_inputs import check_types
from ldm_core.contracts import (
    Conditioning,
    Converter,
    Decoder,
    Encoder,
    Extent,
    Family,
    FrameRate,
    Grid,
    Guidance,
    Input,
    Kernel,
    LatentShape,
    ModelInfo,
    Observer,
    Plan,
    Request,
    Scheduler,
    Seed,
    Spacing,
    Wrapper,
)
from ldm_core.contracts.latents import describe
from ldm_core.contracts.spacing import as_spacing, checked
from ldm_core.errors import LdmError, PartError, did_you_mean
from ldm_core.model import place
from ldm_core.model.lora import Lora
from ldm_core.numerics.point import Point
from ldm_core.plugins.blame import is_of_others
from ldm_core.plugins.elsewhere_words import said_of
from ldm_core.plugins.owners import Owners
from ldm_core.plugins.registry import Plugin, Registry
from ldm_core.values import brief

OF_A_CALL = (
    "seed", "num_images_per_prompt", "num_inference_steps", "guidance_scale", "width", "height",
    "frame_rate", "extent", "batch_size", "output_type", "on_step", "inputs", "skip",
)  # fmt: skip
"""What a call takes beside inputs; a test holds it to `CallArguments`."""


@dataclass(frozen=True)
class Composition:
    """A recipe made ready: each hook point's part, and what the model folder says.

    Attributes:
        info: the model, from its JSON files.
        defaults: what the family and the folder choose.
        own: what the folder's own recipe chooses of that.
        chosen: what the person chose over that.
        recipe: all of it laid together, in full.
        companions: what goes with a scheduler that is not the model's own.
        plugins: the plugins in use, for manifests.
        converters: in the order in which they act.
        loras: the LoRA files among them.
        owners: whose each part is.
    """

    info: ModelInfo
    registry: Registry
    family: Family
    defaults: Layer
    own: Layer
    chosen: Layer
    recipe: Layer
    companions: Companions
    plugins: tuple[Plugin, ...]
    scheduler: Scheduler
    spacing: Spacing
    guidance: Guidance
    attention: Kernel
    encoder: Encoder
    decoder: Decoder
    conditioning: tuple[Conditioning, ...]
    denoisers: tuple[Wrapper, ...]
    observers: tuple[Observer, ...]
    converters: tuple[Converter, ...] = ()
    loras: tuple[Lora, ...] = ()
    owners: Owners = field(default_factory=Owners, repr=False, compare=False)

    @property
    def inputs(self) -> dict[str, Input]:
        """What the conditionings read, by name."""
        return {name: i for part in self.conditioning for name, i in part.inputs.items()}

    @property
    def of_folder(self) -> bool:
        """Weights are read from the model's folder, and stay where they are read to: no other file
        of weights takes part, and no plan of where they lie."""
        return not (self.info.file or self.loras or "memory" in self.recipe)

    @property
    def recipe_in_use(self) -> Layer:
        """The recipe without the model's spacing, where the scheduler walks points of its own; it
        composes the same again."""
        own_points = self.scheduler.points is not None
        return {k: v for k, v in self.recipe.items() if not (own_points and k == "spacing")}

    def at_rate(self, frame_rate: float | None) -> Composition:
        """The composition whose latents are those of videos at a frame rate; this one where they
        are the same.

        Args:
            frame_rate: None for the model's own.
        """
        info = self.info
        rate = info.rate if frame_rate is None else frame_rate
        latents = info.latents if rate is None else info.latents.at_rate(rate)
        if latents == info.latents:
            return self
        from ldm_core.composition.compose import assemble

        info = replace(info, latents=latents)
        return assemble(info, self.registry, self.family, self.own, self.chosen, self.loras)

    def initial_scale(self, grid: Grid) -> float:
        """The standard deviation of x at the start of a grid, as the scheduler wants it."""
        scheduler, schedule = self.scheduler, self.info.noise_schedule
        with self.owners.blamed(scheduler, "before the first step"):
            scale = float(scheduler.start(grid[0], schedule.at(schedule.last)))
            if not 0 <= scale < math.inf:
                what = "x starts with a standard deviation that is finite"
                raise PartError(scheduler, f"{what}, and not of {scale:g}.")
        return scale

    @checks_arguments
    def extent(self, changes: Extent | None = None) -> dict[str, int]:
        """How large a picture, video or sound is: as asked, or as the recipe says, or the model's.

        Raises:
            LdmError: the model cannot draw that.
        """
        info, extent = self.info, dict(self.info.default_extent)
        for layer in (self.defaults, self.chosen):
            extent |= layer.get("extent", {})
            extent |= {side: layer[side] for side in ("height", "width") if side in layer}
        extent |= changes or {}
        info.latents.check(extent, info.default_extent)
        self.check_memory(extent)
        if info.square and extent["width"] != extent["height"]:
            raise LdmError(
                f"{describe(extent)} does not fit this model, which draws squares alone."
            )
        return extent

    def check_memory(self, extent: Extent, images: int = 1) -> None:
        """See that so many images at once can be held at all.

        Raises:
            LdmError: their latents and pixels alone need more memory than is free.
        """
        one = limits.least_bytes(
            self.info.latents, self.info.image_channels, extent, self.decoder.kind
        )
        limits.check_bytes(one, extent, images, limits.available_bytes(), "are free")
        on_device = place.free_bytes(self.recipe)
        if on_device is not None:
            limits.check_bytes(one, extent, images, on_device, "are free on the device")

    def batches(self, plan: Plan, size: int | None) -> list[Plan]:
        """A plan in parts of so many images at most; whole where the size is None.

        Raises:
            LdmError: a batch needs more memory than is free.
        """
        count = len(plan.request.seeds)
        self.check_memory(plan.request.extent, min(size or count, count))
        return plan.batches(size)

    @checks_arguments
    def grid(self, steps: int, extent: Extent | None = None) -> Grid:
        """The points of a run.

        Args:
            extent: for spacings that depend on it; the model's own where not given.
        Raises:
            LdmError: the spacing cannot make that many steps, or the network cannot start there.
        """
        if steps < 1:
            raise LdmError(f"num_inference_steps must be at least 1, not {brief(steps)}.")
        limits.check_steps(steps)
        info = self.info
        own_points = self.scheduler.points
        if own_points is not None:
            name = self.recipe["scheduler"]["name"]
            if self.chosen.get("spacing", self.defaults.get("spacing")) != self.defaults.get(
                "spacing"
            ):
                raise LdmError(
                    f"the scheduler '{name}' walks points of its own, so no spacing can be chosen "
                    "with it; choose another scheduler too."
                )
            spacing = as_spacing(own_points)
        else:
            name, spacing = self.recipe["spacing"]["name"], self.spacing
        latent = LatentShape.of(info.latents, extent or info.default_extent)
        part = self.spacing if own_points is None else self.scheduler
        with self.owners.blamed(part, "while it chose the points of a run"):
            points = spacing.points(info.noise_schedule, steps, latent)
            try:
                grid = checked(points, info.noise_schedule, f"'{name}'")
            except LdmError as error:
                raise PartError(part, error.message, error.hint) from error
            plugin = self.owners.of(part)
            foreign = plugin is not None and is_of_others(plugin) and own_points is None
            if foreign and len(grid) != steps + 1:  # some of ours visit a point fewer, and say so
                raise PartError(
                    part, f"'{name}' makes {len(grid) - 1} steps where {steps} were asked for."
                )
        if grid[0].alpha == 0 and info.prediction_type.needs_signal:
            raise LdmError(
                f"the spacing '{name}' starts where the signal is zero, and there this "
                f"{info.prediction_type.name}-predicting model says nothing of the picture; choose "
                "'leading'."
            )
        return grid

    @checks_arguments
    def plan(
        self,
        inputs: Mapping[str, Any],
        seeds: Sequence[Seed],
        extent: Extent | None = None,
        num_inference_steps: int | None = None,
        frame_rate: FrameRate | None = None,
    ) -> Plan:
        """What a person asks of a run, checked, and the points that it visits.

        Args:
            inputs: by name; a list has an entry for each image.
            extent: how large, where it is not the recipe's or the model's.
            frame_rate: of a video, where it is not the model's.
        Raises:
            LdmError: an unknown or missing input, a size or number of steps that the model cannot
                take, or a frame rate of what is no video.
        """
        rated = self.at_rate(frame_rate)
        if rated is not self:
            return rated.plan(inputs, seeds, extent, num_inference_steps, frame_rate)
        steps = num_inference_steps
        check_frame_rate(frame_rate, self.info, self.decoder.kind, self.conditioning)
        if not seeds:
            raise LdmError("there are no seeds, one for each image, so there is nothing to make.")
        given = {name: value for name, value in inputs.items() if value is not None}
        self.check_names(given)
        request = Request(
            inputs=spread(given, self.inputs, len(seeds)),
            seeds=list(seeds),
            extent=self.extent(extent),
            num_inference_steps=self.recipe["num_inference_steps"] if steps is None else steps,
            frame_rate=frame_rate,
        )
        grid = self.grid(request.num_inference_steps, request.extent)
        for part in self.conditioning:
            with self.owners.blamed(part, "while it saw to the inputs"):
                check_types(part, request)
                part.check_guidance(self.guidance, request)
        for part in self.conditioning:
            with self.owners.blamed(part, "while it chose the part of the way"):
                grid = _cut(part, grid, request)
        return Plan(request, grid)

    @checks_arguments
    def resumed(self, plan: Plan, point: Point) -> Plan:
        """The plan of a run that goes on at a point, down to this composition's last one.

        Raises:
            LdmError: nothing is left to do, or the scheduler only walks points of its own and this
                is none of them.
        """
        grid = self.grid(plan.request.num_inference_steps, plan.request.extent)
        left = grid.onward(point)
        if len(left) < 2:
            raise LdmError(f"nothing is left to do at {point}: the grid ends at {grid[-1]}.")
        strange = not any(own is left[0] for own in grid)
        if strange and self.scheduler.points is not None:
            name = self.recipe["scheduler"]["name"]
            raise LdmError(
                f"the scheduler '{name}' only walks points of its own, none of which is {point}.",
                "choose another scheduler, or as many steps for both parts of the way.",
            )
        return Plan(plan.request, left)

    def check_names(self, inputs: Iterable[str]) -> None:
        """See that these are inputs of the pipeline.

        Raises:
            LdmError: one is none.
        """
        declared = self.inputs
        for name in inputs:
            if name in declared:
                continue
            if name in OF_A_CALL:
                raise LdmError(
                    f"'{name}' is an argument of the call and no input: give it by its own name."
                )
            names = ", ".join(str(c["name"]) for c in self.recipe.get("conditioning", []))
            reads = f"its conditioning ({names}) reads {', '.join(declared)}"
            near = said_of(name, "argument", self.registry) or did_you_mean(
                name, [*declared, *OF_A_CALL, *self.info.latents.names]
            )
            raise LdmError(
                f"this pipeline takes no '{name}': "
                f"{reads if declared else 'it has no conditioning'}.{near}"
            )


def _cut(part: Conditioning, grid: Grid, request: Request) -> Grid:
    """The part of a grid that a conditioning has walked.

    Raises:
        PartError: it gave something else.
    """
    left = part.cut(grid, request)
    if not isinstance(left, Grid) or len(left) < 1:
        raise PartError(part, f"what is left of a Grid is a Grid, not {brief(left)}.")
    return left
