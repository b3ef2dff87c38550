"""``ldm two-stages``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ldm_core.contracts.files import FileName
from ldm_core.errors import LdmError
from ldm_core.media.manifest_files import hashes_of
from ldm_core.run.in_batches import in_batches
from ldm_pipelines.parts import (
    Picture,
    arguments,
    check_shown_as,
    conditioned,
    finished,
    guided,
    plans,
    titles_of,
)
from ldm_pipelines.timed import check_makes, fitted_picture, with_seconds

if TYPE_CHECKING:
    from ldm_core.contracts import Plan
    from ldm_core.run.output import Output
    from ldm_core.run.pipeline import Pipeline

TIMESTEPS = (909.375, 725.0, 421.875)
"""Of the second stage, for which LTX-2's distilled model was trained (HaCohen et al. 2026,
arXiv:2601.03233; ``STAGE_2_DISTILLED_SIGMA_VALUES`` of Diffusers)."""
FIRST_FRAME = "ldm-core:first_frame"
FACTOR = 2
"""How many times as wide and high a second stage is."""

OF_BOTH = ("extent", "plugins", "sha256")
"""What the manifest of the second stage says of both."""


@in_batches
def two_stages(
    pipe: Pipeline,
    *prompts: str,
    upsampler: FileName,
    first_frame: Picture | None = None,
    seconds: float | None = None,
    **call: Any,
) -> Iterator[Output]:
    """Make videos in two stages: small ones first, whose latents are made larger and drawn on from,
    without guidance, over the last steps of LTX-2's distilled model.

    Args:
        prompts: What they show.
        upsampler: Folder or Hub id of the network that makes latents larger.
        first_frame: A picture with which they begin; each stage sees it scaled to its own size, and
            cut to its shape.
        seconds: How long they are, as near as the model can; its own length where left out.
    """
    check_makes(pipe, "video", "two-stages")
    if not prompts:
        raise LdmError("no prompt is given; say what to make.", 'as in "a red circle rolls"')
    whole = with_seconds(pipe, arguments(pipe, call, prompts), seconds)
    if first_frame is not None:
        pipe = conditioned(pipe, FIRST_FRAME)
    first = guided(pipe, whole)
    check_shown_as(pipe, whole)
    enlarged = {"name": "ldm-core:upsampled_latents", "upsampler": upsampler}
    second = pipe.replace(
        conditioning=[*pipe.recipe["conditioning"], enlarged],
        scheduler="ldm-core:euler",
        spacing={"name": "ldm-core:explicit", "timesteps": list(TIMESTEPS)},
        guidance="ldm-core:none",
        num_inference_steps=len(TIMESTEPS),
    )
    extent = second.composition.extent(whole.extent)
    half = replace(whole, extent=_smaller(pipe, extent))
    shown = {}
    if first_frame is not None:
        small_frame, _ = fitted_picture(pipe, first_frame, half)
        half = half.with_inputs(first_frame=small_frame)
        shown["first_frame"], _ = fitted_picture(pipe, first_frame, replace(whole, extent=extent))
    batches = plans(first, half)

    def made(plan: Plan) -> Output:
        small, request = first.sample(plan, whole.on_step), plan.request
        inputs = {**request.inputs, **shown, "small_latents": list(small)}
        rate = pipe.composition.info.rate if request.frame_rate is None else request.frame_rate
        after = second.composition.plan(inputs, request.seeds, extent, None, rate)
        latents = second.sample(after, whole.on_step)
        output = second.output(latents, after.request, whole.output_type)
        # what is asked for again is the first stage, of which the command makes the second
        asked = first.output(small, request, "latent").manifests
        manifests = [
            _of_both(asked[index], then)
            for index, then in zip(output.indices, output.manifests, strict=True)
        ]
        how = f"in {len(TIMESTEPS)} steps more from latents that were made larger"
        return finished(
            replace(output, manifests=manifests), titles_of(request, "in two stages"), how
        )

    return first.within_memory(batches, made)


def _of_both(asked: dict[str, Any], then: dict[str, Any]) -> dict[str, Any]:
    """The manifest of the first stage, with what the second alone can say: files that it reads, as
    the upsampler's, are beside a model that the first has not, and so they are the call's own."""
    read = then.get("beside", {}).keys() - asked.get("beside", {}).keys()
    files = {**asked.get("input_files", {}), **hashes_of(read)}
    both = {**asked, **{key: then[key] for key in OF_BOTH if key in then}}
    return {**both, "input_files": files} if files else both


def _smaller(pipe: Pipeline, extent: dict[str, int]) -> dict[str, int]:
    """The extent of the first stage."""
    sides = {}
    for name in ("height", "width"):
        axis = pipe.composition.info.latents.axis(name)
        length = extent[name] // FACTOR
        if extent[name] % FACTOR or not axis.fits(length):
            raise LdmError(
                f"in two stages the {name} should be a multiple of {FACTOR * axis.stride}, not "
                f"{extent[name]}, of which the first stage draws half.",
            )
        sides[name] = length
    return {**extent, **sides}
