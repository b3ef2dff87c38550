"""One pipeline after another on the way from noise to picture, such as a base and its refiner."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ldm_core.arguments import checks_arguments
from ldm_core.contracts import Extent, FrameRate, Plan, Step
from ldm_core.errors import LdmError
from ldm_core.media.manifest import make_manifest
from ldm_core.media.shown import check_output_type
from ldm_core.model.same_latents import check_same_latents
from ldm_core.numerics.strength import steps_before as steps_before
from ldm_core.run.allowance import within_memory
from ldm_core.run.batches import Generates
from ldm_core.run.call import CallArguments
from ldm_core.run.completing import completed
from ldm_core.run.finite import collected
from ldm_core.run.notebook import in_line
from ldm_core.run.observing import failing
from ldm_core.run.outcome import outcome
from ldm_core.run.output import Output
from ldm_core.run.pipeline import Pipeline

PROBE = 64
"""Side in pixels, about, of the picture by which the latents of two models are compared."""


@checks_arguments
def chain(first: Pipeline | Chain, then: Pipeline | Chain, at: float = 0.8) -> Chain:
    """A pipeline, and another that takes over its latents before they are done.

    The first one stops at its first point past the share `at`; the other goes on from that very
    point with all that is less noisy in its own grid, so x is never taken for more or less noisy
    than it is. Where both visit the same points, that is ``denoising_end`` of one pipeline of
    Diffusers and ``denoising_start`` of the next (Podell et al. 2023, arXiv:2307.01952,
    Section 2.5). Each has its own conditions, guidance and scheduler, and the last one decodes.
    Chains may be parts of chains; `at` counts from noise to picture in all of them.

    Args:
        at: the share of the training timesteps, from noise to picture, that lies behind when the
            other takes over; strictly between 0 and 1.
    Raises:
        LdmError: the share is none or out of order, or the models differ in their latents or
            their noise schedule.
    """
    parts = [part if isinstance(part, Chain) else Chain((part,), ()) for part in (first, then)]
    if not 0 < at < 1:
        raise LdmError(f"a chain changes at a share between 0 and 1, such as 0.8, not at {at}.")
    shares = (*parts[0].shares, at, *parts[1].shares)
    if list(shares) != sorted(set(shares)):
        raise LdmError(
            f"the parts of a chain follow one another, and {', '.join(map(str, shares))} do not "
            "rise; each counts from noise to picture."
        )
    pipelines = (*parts[0].pipelines, *parts[1].pipelines)
    first_of_all = pipelines[0]
    for other in pipelines[1:]:
        check_same_latents(first_of_all.model, other.model)
        if other.model is not first_of_all.model:
            _check_same_encoding(first_of_all, other)
    return Chain(pipelines, shares)


def _check_same_encoding(one: Pipeline, other: Pipeline) -> None:
    """See that two models that draw pictures have the same latent for one, but for rounding: two
    autoencoders of one shape and scale may still be strangers. Decoders may differ.

    Raises:
        LdmError: the latents of a picture are farther apart than a tenth of their size.
    """
    info = one.composition.info
    kinds = {one.composition.encoder.kind, other.composition.encoder.kind}
    if kinds != {"image"} or {*info.latents.names} != {"height", "width"}:
        return
    sides = {axis.name: axis.nearest(PROBE) for axis in info.latents.axes}
    picture = torch.linspace(0, 1, sides["width"]).expand(
        1, info.image_channels, sides["height"], sides["width"]
    )
    here, there = one.encode(picture), other.encode(picture)
    if not (here - there).norm() <= 0.1 * here.norm():  # nor where one is not finite
        raise LdmError(
            f"the models '{info.source}' and '{other.composition.info.source}' have different "
            "latents for one picture; a chain needs models that share an autoencoder."
        )


@dataclass(frozen=True, eq=False)
class Chain(Generates):
    """Generates images as a `Pipeline` does, by way of several; `chain` makes it.

    In a call, the steps and the guidance scale are those of every pipeline, of its own whole way,
    and each takes those inputs that it reads. Each manifest holds those of the pipelines as
    ``chain``, and their shares as ``at``.

    Attributes:
        pipelines: those that x passes through.
        shares: of the way, from noise to picture, at which each but the first takes over.
    """

    pipelines: tuple[Pipeline, ...]
    shares: tuple[float, ...]

    def __repr__(self) -> str:
        parts = "; ".join(in_line(part.composition) for part in self.pipelines)
        return f"<Chain at {', '.join(map(str, self.shares))}: {parts}>"

    @property
    def axes(self) -> tuple[str, ...]:
        return self.pipelines[0].axes

    def replace(self, **changes: Any) -> Chain:
        """Another chain on the same weights, each pipeline with these changes."""
        return Chain(tuple(part.replace(**changes) for part in self.pipelines), self.shares)

    @checks_arguments
    def batches_of(self, call: CallArguments) -> Iterator[Output]:
        if call.skip is not None:
            raise LdmError("a chain takes no 'skip': it makes every image that is asked for.")
        chained = self
        if call.guidance_scale is not None:
            chained = self.replace(guidance={"scale": call.guidance_scale})
        last = chained.pipelines[-1].composition
        check_output_type(call.output_type, last.decoder.kind, last.info.image_channels)
        seeds, inputs = call.images()
        plans = chained.plans(inputs, seeds, call.extent, call.num_inference_steps, call.frame_rate)
        parts = zip(chained.pipelines, plans, strict=True)
        batches = [part.composition.batches(plan, call.batch_size) for part, plan in parts]
        return chained.outputs(batches, call)

    @checks_arguments
    def outputs(self, batches: Sequence[Sequence[Plan]], call: CallArguments) -> Iterator[Output]:
        """The outputs of each pipeline's plans, batch by batch.

        Raises:
            LdmError: there are not as many plans of each pipeline.
        """
        self._check_number(len(batches))
        if len({len(plans) for plans in batches}) > 1:
            raise LdmError("each pipeline of a chain goes through as many batches as the others.")
        return self._outputs(batches, call)

    def _outputs(self, batches: Sequence[Sequence[Plan]], call: CallArguments) -> Iterator[Output]:
        def output(parts: tuple[Plan, ...]) -> Output:
            pairs = zip(self.pipelines, parts, strict=True)
            parts = tuple(completed(pipe, plan) for pipe, plan in pairs)
            with collected() as walks, failing(walks):
                latents = self.sample(parts, call.on_step)
            manifests, last = self.manifests(parts), self.pipelines[-1]
            request = parts[-1].request
            return outcome(last, latents, request, manifests, call.output_type, walks)

        def cut(parts: tuple[Plan, ...], size: int) -> list[tuple[Plan, ...]]:
            return list(zip(*(plan.batches(size) for plan in parts), strict=True))

        return within_memory(
            zip(*batches, strict=True),
            output,
            cut,
            lambda parts: len(parts[0].request.seeds),
            lambda: [part.model for part in self.pipelines],
        )

    @checks_arguments
    def plans(
        self,
        inputs: Mapping[str, Any],
        seeds: Sequence[int],
        extent: Extent | None = None,
        num_inference_steps: int | None = None,
        frame_rate: FrameRate | None = None,
    ) -> list[Plan]:
        """The plan of each pipeline, as of `Composition.plan`, each from where it takes over.

        Raises:
            LdmError: bad input, or a share that leaves a pipeline without a step.
        """
        declared = [part.composition.inputs for part in self.pipelines]
        # an input that none reads goes to the first, which says what it reads
        left = {name for name in inputs if not any(name in names for names in declared)}
        plans: list[Plan] = []
        for part, names in zip(self.pipelines, declared, strict=True):
            own = {n: value for n, value in inputs.items() if n in names or n in left}
            left = set()
            plan = part.composition.plan(own, seeds, extent, num_inference_steps, frame_rate)
            extent = plan.request.extent
            plans.append(plan)
        for index, share in enumerate(self.shares):
            stop = steps_before(plans[index].grid, share)
            if stop == 0:
                raise LdmError(
                    f"a chain that changes at {share} leaves a pipeline no step before it; change "
                    "later, or take more steps."
                )
            composition = self.pipelines[index + 1].composition
            plans[index + 1] = composition.resumed(plans[index + 1], plans[index].grid[stop])
        return plans

    @checks_arguments
    def sample(
        self, plans: Sequence[Plan], on_step: Callable[[Step], None] | None = None
    ) -> Tensor:
        """The final latents of the pipelines' plans, (batch, channels, ...) float32, in one
        batch.

        Raises:
            LdmError: there is not one plan for each pipeline.
        """
        self._check_number(len(plans))
        sampling = self.pipelines[0].start(plans[0])
        x = sampling.x
        for share, part, plan in zip(self.shares, self.pipelines[1:], plans[1:], strict=True):
            grid = sampling.run.grid
            stop = steps_before(grid, share)
            x = sampling.walk(x, stop=stop, on_step=on_step)
            sampling = part.resume(plan, x, grid[stop], sampling.run.noise)
        return sampling.walk(sampling.x, on_step=on_step)

    def _check_number(self, plans: int) -> None:
        if plans != len(self.pipelines):
            raise LdmError(
                f"a chain of {len(self.pipelines)} pipelines takes as many plans, not {plans}.",
                "`plans` of the chain makes them.",
            )

    @checks_arguments
    def manifests(self, plans: Sequence[Plan]) -> list[dict[str, Any]]:
        """Of each image: what each pipeline did, and where they changed."""
        self._check_number(len(plans))
        parts = list(zip(self.pipelines, plans, strict=True))
        return [
            {
                "chain": [
                    make_manifest(p.composition, plan.request, index, p.model.place)
                    for p, plan in parts
                ],
                "at": list(self.shares),
            }
            for index in range(len(plans[0].request.seeds))
        ]
