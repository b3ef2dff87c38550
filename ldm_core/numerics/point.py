"""A place on the noise schedule."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """Where a noisy latent ``x = alpha·x0 + sigma·noise`` lies, in float64.

    Attributes:
        alpha: factor of the clean latent; 0 at pure noise (flow's t = 1, zero terminal SNR).
        sigma: standard deviation of the noise; 0 at the clean end.
        t: what the network is told, in its training timesteps.
    """

    alpha: float
    sigma: float
    t: float

    @property
    def ratio(self) -> float:
        """sigma/alpha, the noise level of the variance-exploding view; infinite at alpha = 0."""
        return self.sigma / self.alpha if self.alpha > 0 else math.inf

    @property
    def half_log_snr(self) -> float:
        """lambda = ln(alpha/sigma) of Lu et al. 2022 (arXiv:2206.00927); ±inf at the two ends."""
        if self.sigma == 0:
            return math.inf
        return math.log(self.alpha / self.sigma) if self.alpha > 0 else -math.inf


CLEAN = Point(alpha=1.0, sigma=0.0, t=0.0)
"""The noiseless end of every path."""
