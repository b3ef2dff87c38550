"""Align Your Steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ldm_core.errors import LdmError
from ldm_core.numerics.noise_schedule import NoiseSchedule, vp_schedule
from ldm_core.numerics.point import CLEAN, Point
from ldm_plugins.spacings.shared.ends import Final
from ldm_plugins.spacings.shared.ratios import points_at

TIMESTEPS = {
    "sd15": (999, 850, 736, 645, 545, 455, 343, 233, 124, 24, 0),
    "sdxl": (999, 845, 730, 587, 443, 310, 193, 116, 53, 13, 0),
}
"""The published ten steps for the two image models, in timesteps of their noise schedule."""
SVD = (700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002)
"""The published ten steps for Stable Video Diffusion, as sigma/alpha."""


def align_your_steps(
    schedule: NoiseSchedule,
    steps: int,
    *,
    table: Literal["sd15", "sdxl", "svd"] = "sd15",
    final: Final = "zero",
) -> Sequence[Point]:
    """Noise levels optimised for ten steps of one model (Sabour et al. 2024, arXiv:2404.14507).

    Other numbers of steps interpolate the logarithm of the noise level, as the authors say. The
    table is of sigma/alpha, so it can be tried on any model; its noisy end is replaced by the
    model's own, since a run starts from pure noise.

    Args:
        table: the model it was optimised for: Stable Diffusion 1.5, SDXL or Stable Video Diffusion.
        final: "zero" ends without noise, "sigma_min" at the least noise of the table.
    """
    levels = np.log(_levels(table))
    even = np.linspace(0, len(levels) - 1, steps + 1)
    ratios = [float(r) for r in np.exp(np.interp(even, range(len(levels)), levels))]
    inner = ratios[1:-1]
    noisiest, least = schedule.at(schedule.last), schedule.at(schedule.first)
    if inner and not least.ratio < inner[-1] <= inner[0] < noisiest.ratio:
        raise LdmError(
            f"the table '{table}' of align_your_steps visits noise levels from {inner[0]:.3g} to "
            f"{inner[-1]:.3g}, but this model was trained on {noisiest.ratio:.3g} to "
            f"{least.ratio:.3g}; choose another table."
        )
    visited = inner if final == "zero" else [*inner, max(ratios[-1], least.ratio)]
    return [noisiest, *(points_at(schedule, visited, final) if visited else [CLEAN])]


def _levels(table: str) -> Sequence[float]:
    if table == "svd":
        return SVD
    stable_diffusion = vp_schedule()
    return [stable_diffusion.at(t).ratio for t in TIMESTEPS[table]]
