"""The points of latent consistency models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from ldm_core.errors import LdmError
from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import Point
from ldm_plugins.spacings.shared.ends import Final, grid_at, places_among


def lcm(
    schedule: NoiseSchedule,
    steps: int,
    *,
    original_inference_steps: Annotated[int, Field(ge=1)] = 50,
    final: Final = "zero",
) -> Sequence[Point]:
    """Evenly chosen among the timesteps of a distillation (Luo et al. 2023, arXiv:2310.04378).

    The distilled timesteps are every k-th one, counted up to the noisiest; models by LCM and TCD
    know no others.

    Args:
        original_inference_steps: how many timesteps the model was distilled on.
        final: "zero" ends without noise, "sigma_min" at the least noise of the training.
    """
    _, count = places_among(schedule, original_inference_steps)
    if steps > original_inference_steps:
        raise LdmError(
            f"num_inference_steps is {steps}, but the model was distilled on "
            f"{original_inference_steps} timesteps (original_inference_steps)."
        )
    stride = count // original_inference_steps
    chosen = [
        original_inference_steps - i * original_inference_steps // steps for i in range(steps)
    ]
    return grid_at(schedule, [schedule.first + n * stride - 1 for n in chosen], final)
