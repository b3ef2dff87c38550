"""Karras."""

from __future__ import annotations

from collections.abc import Sequence

from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import Point
from ldm_plugins.spacings.shared.ends import Final, Positive
from ldm_plugins.spacings.shared.ratios import evenly, points_at, ratio_range


def karras(
    schedule: NoiseSchedule,
    steps: int,
    *,
    rho: Positive = 7.0,
    sigma_min: Positive | None = None,
    sigma_max: Positive | None = None,
    whole_timesteps: bool = False,
    final: Final = "zero",
) -> Sequence[Point]:
    """Noise ratios even in their rho-th root (Karras et al. 2022, arXiv:2206.00364, Eq. 5).

    It works on sigma/alpha, so on every schedule. Where that is infinite at the noisy end (flow,
    zero terminal SNR) it starts at the paper's sigma_max of 80.

    Args:
        rho: how much the steps crowd at the clean end.
        sigma_min: least sigma/alpha before the clean end; the training's where not given.
        sigma_max: greatest sigma/alpha; the training's where not given.
        whole_timesteps: round what the network is told, while the noise stays exact, as Diffusers'
            DPM-Solver, UniPC, DEIS and DPM2 classes do.
        final: "zero" ends without noise; "sigma_min" at sigma_min, one step earlier.
    """
    high, low = ratio_range(schedule, sigma_min, sigma_max)
    roots = evenly(high ** (1 / rho), low ** (1 / rho), steps, final)
    return points_at(schedule, [root**rho for root in roots], final, whole_timesteps)
