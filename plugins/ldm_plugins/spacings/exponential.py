"""Exponential."""

from __future__ import annotations

from collections.abc import Sequence

from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import Point
from ldm_plugins.spacings.log_snr import log_snr
from ldm_plugins.spacings.shared.ends import Final, Positive


def exponential(
    schedule: NoiseSchedule,
    steps: int,
    *,
    sigma_min: Positive | None = None,
    sigma_max: Positive | None = None,
    whole_timesteps: bool = False,
    final: Final = "zero",
) -> Sequence[Point]:
    """Even steps of ln(sigma/alpha): `log_snr` by k-diffusion's name (arXiv:2206.00927, Sec. 3.3).

    Where sigma/alpha is infinite at the noisy end (flow, zero terminal SNR) it starts at 80.

    Args:
        sigma_min: least sigma/alpha before the clean end; the training's where not given.
        sigma_max: greatest sigma/alpha; the training's where not given.
        whole_timesteps: round what the network is told, while the noise stays exact.
        final: "zero" ends without noise; "sigma_min" at sigma_min, one step earlier.
    """
    return log_snr(
        schedule,
        steps,
        sigma_min=sigma_min,
        sigma_max=sigma_max,
        whole_timesteps=whole_timesteps,
        final=final,
    )
