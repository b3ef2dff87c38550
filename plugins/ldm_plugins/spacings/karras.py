"""Karras."""

from __future__ import annotations

from collections.abc import Sequence

from ldm_core.errors import LdmError
from ldm_core.noise_schedule import NoiseSchedule
from ldm_core.point import Point
from ldm_plugins.spacings.ratios import points_at, ratio_range


def karras(
    schedule: NoiseSchedule,
    steps: int,
    *,
    rho: float = 7.0,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
) -> Sequence[Point]:
    """Noise ratios even in their rho-th root (Karras et al. 2022, arXiv:2206.00364, Eq. 5).

    It works on sigma/alpha, so on every schedule. Where that is infinite at the noisy end (flow,
    zero terminal SNR) it starts at the paper's sigma_max of 80.

    Args:
        rho: how much the steps crowd at the clean end.
        sigma_min: least sigma/alpha before the clean end; the training's where not given.
        sigma_max: greatest sigma/alpha; the training's where not given.
    """
    if rho <= 0:
        raise LdmError(f"karras needs a positive rho, not {rho:g}.")
    high, low = ratio_range(schedule, sigma_min, sigma_max)
    start, end = high ** (1 / rho), low ** (1 / rho)
    parts = max(steps - 1, 1)
    return points_at(schedule, [(start + i / parts * (end - start)) ** rho for i in range(steps)])
