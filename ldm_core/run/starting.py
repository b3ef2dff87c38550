"""The first x of a run, and what the run draws from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from ldm_core.contracts import Noise, Plan, Run
from ldm_core.contracts.record import check_takes
from ldm_core.model.copied import follow_originals
from ldm_core.model.libraries import heard
from ldm_core.numerics.seeded_noise import is_on
from ldm_core.run.attention import in_force
from ldm_core.run.completing import completed
from ldm_core.run.decoding import decoder_for
from ldm_core.run.encoding import by_encoder
from ldm_core.run.finite import begun
from ldm_core.run.part_errors import computing
from ldm_core.run.sampling import BEFORE, Sampling
from ldm_core.run.tf32 import tf32_in_force

if TYPE_CHECKING:
    from ldm_core.run.pipeline import Pipeline


def started(pipe: Pipeline, plan: Plan, noise: Noise | None, x: Tensor | None) -> Sampling:
    """A run of a plan at its first x.

    Args:
        noise: what it draws from; the images' seeds where None.
        x: where it begins; as the plan's conditionings have it where None.
    """
    if pipe.fitting is not None:
        pipe.fitting.see(pipe.composition, plan)
    follow_originals(pipe.model.parts.values())
    parts, plan = pipe.composition, completed(pipe, plan)
    device = pipe.model.latents_device
    if noise is not None:
        check_takes(noise, (), "noise")
    own = noise or pipe.noise(plan.request.seeds, plan.request.extent)
    draws = own if is_on(own, device) else lambda: own().to(device)
    finite = begun(len(plan.request.seeds))

    def to_latents(data: Tensor) -> Tensor:
        latents = by_encoder(parts, pipe.model, data.to(device), draws).to(device)
        finite.encoded(latents)
        return latents

    request, grid, decode = plan.request, plan.grid, decoder_for(pipe, plan.request)
    scale = pipe.initial_scale(grid)
    run = Run(pipe.model, request, grid, draws, to_latents, scale, parts.scheduler, decode)
    blamed = parts.owners.blamed(None, BEFORE)
    tf32 = tf32_in_force(parts.recipe)
    with blamed, in_force(parts.attention), tf32, heard(), computing(pipe.model):
        return Sampling(parts, run, x, finite)
