"""One pipeline after another on the way from noise to picture, such as a base and its refiner."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ldm_core.contracts import Grid, Request, Step
from ldm_core.errors import LdmError
from ldm_core.media.manifest import make_manifest
from ldm_core.model.latents import check_same_latents
from ldm_core.run.pipeline import Output, Pipeline, check_call, images_of, per_image
from ldm_core.run.stream import Streams


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
    for other in pipelines[1:]:
        check_same_latents(pipelines[0].model, other.model)
    return Chain(pipelines, shares)


@dataclass(frozen=True, eq=False)
class Chain(Streams):
    """Generates images as a `Pipeline` does, by way of several; `chain` makes it.

    Attributes:
        pipelines: those that x passes through.
        shares: of the way, from noise to picture, at which each but the first takes over.
    """

    pipelines: tuple[Pipeline, ...]
    shares: tuple[float, ...]

    def replace(self, **changes: Any) -> Chain:
        """Another chain on the same weights, each pipeline with these changes."""
        return Chain(tuple(part.replace(**changes) for part in self.pipelines), self.shares)

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

        All as in a call of a `Pipeline`. The steps and the guidance scale are those of every
        pipeline, of its own whole way, and each takes those inputs that it reads. Each manifest
        holds those of the pipelines as ``chain``, and their shares as ``at``.

        Raises:
            LdmError: bad input, before any sampling.
        """
        scaled = self
        if guidance_scale is not None:
            scaled = self.replace(guidance={"scale": guidance_scale})
        last = scaled.pipelines[-1]
        channels = last.composition.info.image_channels
        check_call(output_type, channels, batch_size, num_images_per_prompt)
        seeds, spread = per_image({"prompt": prompt, **inputs}, seed, num_images_per_prompt)
        requests = scaled.requests(spread, seeds, width, height, num_inference_steps)
        size = batch_size or len(seeds)
        made = []
        for start in range(0, len(seeds), size):
            part = [images_of(request, start, start + size) for request in requests]
            latents = scaled.sample(part, on_step)
            shown = last.output(latents, part[-1], output_type)
            made.append(Output(shown.images, shown.seeds, scaled.manifests(part)))
            if on_batch is not None:
                on_batch(made[-1])
        return Output.join(made)

    def requests(
        self,
        inputs: Mapping[str, Any],
        seeds: Sequence[int],
        width: int | None = None,
        height: int | None = None,
        num_inference_steps: int | None = None,
    ) -> list[Request]:
        """What is asked of each pipeline, checked; arguments as of `Composition.request`.

        Raises:
            LdmError: bad input, or a share that leaves a pipeline without a step.
        """
        known = [part.composition.inputs for part in self.pipelines]
        # an input that none knows goes to the first, which says what it reads
        spread = {n for n in inputs if not any(n in names for names in known)}
        asked: list[Request] = []
        for part, names in zip(self.pipelines, known, strict=True):
            taken = {n: value for n, value in inputs.items() if n in names or n in spread}
            spread = set()
            request = part.composition.request(taken, seeds, width, height, num_inference_steps)
            width, height = request.width, request.height
            asked.append(request)
        grid = self.pipelines[0].grid(asked[0])
        for share, part, request in zip(self.shares, self.pipelines[1:], asked[1:], strict=True):
            stop = steps_before(grid, share)
            if stop == 0:
                raise LdmError(
                    f"a chain that changes at {share} leaves a pipeline no step before it; change "
                    "later, or take more steps."
                )
            grid = part.grid(request, grid[stop])
        return asked

    def sample(
        self, requests: Sequence[Request], on_step: Callable[[Step], None] | None = None
    ) -> Tensor:
        """The final latents of checked requests, (batch, channels, ...) float32, in one batch."""
        run = self.pipelines[0].start(requests[0])
        x = run.x
        for share, part, request in zip(self.shares, self.pipelines[1:], requests[1:], strict=True):
            grid = run.run.grid
            stop = steps_before(grid, share)
            x = run.walk(x, stop=stop, on_step=on_step)
            run = part.resume(request, x, grid[stop], run.run.noise)
        return run.walk(run.x, on_step=on_step)

    def manifests(self, requests: Sequence[Request]) -> list[dict[str, Any]]:
        """Of each image: what each pipeline did, and where they changed."""
        parts = list(zip(self.pipelines, requests, strict=True))
        return [
            {
                "chain": [
                    make_manifest(p.composition, request, index, p.model.place)
                    for p, request in parts
                ],
                "at": list(self.shares),
            }
            for index in range(len(requests[0].seeds))
        ]


def steps_before(grid: Grid, share: float) -> int:
    """How many steps of a grid begin before a share of the training timesteps is done."""
    schedule = grid.schedule
    cutoff = (1 - share) * (schedule.last - schedule.first + 1)
    if schedule.discrete:
        cutoff = round(cutoff)
    return sum(1 for point in grid[:-1] if point.t > cutoff - 1e-6)
