"""Beta."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ldm_core.errors import LdmError
from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import Point
from ldm_plugins.spacings.shared.ends import Final, Positive
from ldm_plugins.spacings.shared.ratios import evenly, points_at, ratio_range


def beta(
    schedule: NoiseSchedule,
    steps: int,
    *,
    alpha: Positive = 0.6,
    beta: Positive = 0.6,
    over: Literal["timesteps", "sigma"] = "timesteps",
    sigma_min: Positive | None = None,
    sigma_max: Positive | None = None,
    whole_timesteps: bool = False,
    final: Final = "zero",
) -> Sequence[Point]:
    """Timesteps at even quantiles of a Beta distribution (Lee et al. 2024, arXiv:2407.12173).

    With the paper's 0.6 and 0.6 they crowd at both ends. Where a range is not given it is the
    training's; over sigma, where sigma/alpha has no end (flow, zero terminal SNR), up to 80.

    Args:
        alpha: smaller crowds more at the clean end.
        beta: smaller crowds more at the noisy end.
        over: what is distributed so: "timesteps" as in the paper, or "sigma", the noise ratio, as
            in Diffusers' schedulers for VP models.
        sigma_min: least sigma/alpha before the clean end.
        sigma_max: greatest sigma/alpha.
        whole_timesteps: round what the network is told, while the noise stays exact.
        final: "zero" ends without noise; "sigma_min" at sigma_min, one step earlier.
    """
    from scipy.special import betaincinv

    quantiles = [float(betaincinv(alpha, beta, u)) for u in evenly(1.0, 0.0, steps, final)]
    if over == "sigma":
        high, low = ratio_range(schedule, sigma_min, sigma_max)
        return points_at(
            schedule, [low + q * (high - low) for q in quantiles], final, whole_timesteps
        )
    high = schedule.last if sigma_max is None else schedule.at_ratio(sigma_max).t
    low = schedule.first if sigma_min is None else schedule.at_ratio(sigma_min).t
    if not low < high:
        raise LdmError("beta needs sigma_min below sigma_max, both within the training's.")
    ratios = [schedule.at(low + q * (high - low)).ratio for q in quantiles]
    return points_at(schedule, ratios, final, whole_timesteps)
