"""Noise schedules: alpha(t) and sigma(t) of a trained model, as float64 functions.

Every schedule answers two questions, each the inverse of the other: which point lies at a
training timestep (`at`), and which point has a given noise ratio sigma/alpha (`at_ratio`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ldm_core.numerics.point import Point

Array = NDArray[np.float64]


class NoiseSchedule(Protocol):
    """The path from data to noise that a network was trained on."""

    @property
    def discrete(self) -> bool:
        """Whether the network was told whole timesteps alone."""
        ...

    @property
    def first(self) -> float:
        """The training timestep with the least noise."""
        ...

    @property
    def last(self) -> float:
        """The training timestep with the most noise."""
        ...

    def at(self, t: float) -> Point:
        """The point at training timestep t, clamped to [first, last]."""
        ...

    def at_ratio(self, ratio: float) -> Point:
        """The point with sigma/alpha = ratio, on this schedule's own (alpha, sigma) curve."""
        ...


class VPSchedule:
    """Variance-preserving schedule (alpha² + sigma² = 1) from a table of betas.

    Between integer timesteps the log-SNR is interpolated linearly, as DPM-Solver does
    (Lu et al. 2022, arXiv:2206.00927, appendix D.4), so `at` and `at_ratio` are inverse.

    Args:
        betas: (T,) variances of the forward process, Ho et al. 2020 (arXiv:2006.11239, Eq. 2).
    Raises:
        ValueError: a beta lies outside [0, 1], or the noise does not grow strictly.
    """

    def __init__(self, betas: Sequence[float] | Array) -> None:
        table = np.asarray(betas, dtype=np.float64)
        if table.ndim != 1 or table.size < 2:
            raise ValueError(f"betas must be a list of at least 2 numbers, not {table.shape}")
        if not ((table > 0) & (table <= 1)).all():
            raise ValueError("every beta must lie in (0, 1]")
        alpha_bar = np.cumprod(1.0 - table)
        if (np.diff(alpha_bar) >= 0).any():
            raise ValueError("betas must make the noise grow at every timestep")
        self.betas = table
        self.alphas: Array = np.sqrt(alpha_bar)
        self.sigmas: Array = np.sqrt(1.0 - alpha_bar)
        with np.errstate(divide="ignore"):
            self._log_ratio: Array = np.log(self.sigmas) - np.log(self.alphas)
        self._steps = np.arange(table.size, dtype=np.float64)
        self.discrete = True
        self.first = 0.0
        self.last = float(table.size - 1)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VPSchedule) and np.array_equal(self.betas, other.betas)

    def __hash__(self) -> int:
        return hash(self.betas.tobytes())

    def at(self, t: float) -> Point:
        """See `NoiseSchedule.at`."""
        t = min(max(t, self.first), self.last)
        low = int(t)
        if t == low:
            return Point(float(self.alphas[low]), float(self.sigmas[low]), t)
        if math.isinf(self._log_ratio[low + 1]):
            # Towards zero SNR the log-SNR has no slope: interpolate the signal instead.
            alpha = float(np.interp(t, self._steps, self.alphas))
            return Point(alpha, math.sqrt(1.0 - alpha * alpha), t)
        log_ratio = float(np.interp(t, self._steps, self._log_ratio))
        return Point(*_on_circle(log_ratio), t)

    def at_ratio(self, ratio: float) -> Point:
        """See `NoiseSchedule.at_ratio`."""
        if ratio <= 0:
            raise ValueError(f"a noise ratio must be positive, not {ratio}")
        if math.isinf(ratio):
            return Point(0.0, 1.0, self.last)
        log_ratio = math.log(ratio)
        alpha, sigma = _on_circle(log_ratio)
        finite = self._log_ratio[np.isfinite(self._log_ratio)]
        if log_ratio > finite[-1] and finite.size < self._steps.size:
            t = float(np.interp(-alpha, -self.alphas, self._steps))
        else:
            t = float(np.interp(log_ratio, finite, self._steps[: finite.size]))
        return Point(alpha, sigma, t)


def vp_schedule(
    beta_schedule: str = "scaled_linear",
    beta_start: float = 0.00085,
    beta_end: float = 0.012,
    num_train_timesteps: int = 1000,
    rescale_zero_snr: bool = False,
) -> VPSchedule:
    """A variance-preserving schedule by the name of its betas.

    Args:
        beta_schedule: ``linear`` (Ho et al. 2020), ``scaled_linear`` (linear in sqrt(beta),
            Rombach et al. 2022), ``squaredcos_cap_v2`` (Nichol & Dhariwal 2021,
            arXiv:2102.09672, Eq. 17, betas capped at 0.999), ``sigmoid`` (GeoDiff, Xu et al. 2022,
            arXiv:2203.02923) or ``exp`` (alpha_bar = exp(-12·t/T), as in Diffusers).
        beta_start, beta_end: first and last beta, or for ``sigmoid`` those it tends to; not used
            by ``squaredcos_cap_v2`` and ``exp``.
        num_train_timesteps: length T of the table.
        rescale_zero_snr: shift and scale sqrt(alpha_bar) so that the last SNR is zero
            (Lin et al. 2023, arXiv:2305.08891, Algorithm 1).
    Raises:
        ValueError: unknown name.
    """
    if beta_schedule not in BETAS:
        *names, last = BETAS
        raise ValueError(
            f"no beta schedule named '{beta_schedule}'; there are {', '.join(names)} and {last}, "
            "or give the betas themselves to VPSchedule"
        )
    betas = BETAS[beta_schedule](beta_start, beta_end, num_train_timesteps)
    return VPSchedule(zero_terminal_snr(betas) if rescale_zero_snr else betas)


def _of_alpha_bar(alpha_bar: Array) -> Array:
    """Betas of alpha_bar at 0, 1/T, ... 1, capped at 0.999."""
    return np.minimum(1.0 - alpha_bar[1:] / alpha_bar[:-1], 0.999)


def _linear(start: float, end: float, count: int) -> Array:
    return np.linspace(start, end, count)


def _scaled_linear(start: float, end: float, count: int) -> Array:
    return np.asarray(np.linspace(math.sqrt(start), math.sqrt(end), count) ** 2)


def _cosine(start: float, end: float, count: int) -> Array:
    angle = (np.arange(count + 1) / count + 0.008) / 1.008 * math.pi / 2
    return _of_alpha_bar(np.cos(angle) ** 2)


def _sigmoid(start: float, end: float, count: int) -> Array:
    return np.asarray(start + (end - start) / (1.0 + np.exp(-np.linspace(-6, 6, count))))


def _exponential(start: float, end: float, count: int) -> Array:
    return _of_alpha_bar(np.exp(-12.0 * np.arange(count + 1) / count))


BETAS: Mapping[str, Callable[[float, float, int], Array]] = {
    "linear": _linear,
    "scaled_linear": _scaled_linear,
    "squaredcos_cap_v2": _cosine,
    "sigmoid": _sigmoid,
    "exp": _exponential,
}
"""``BETAS[name](beta_start, beta_end, count)``, the names that Diffusers gives them."""


def zero_terminal_snr(betas: Array) -> Array:
    """Betas of the same start whose last SNR is zero.

    Source: Lin et al. 2023, arXiv:2305.08891, Algorithm 1.
    """
    root = np.sqrt(np.cumprod(1.0 - betas))
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    alpha_bar = root**2
    steps = np.concatenate([alpha_bar[:1], alpha_bar[1:] / alpha_bar[:-1]])
    return np.asarray(1.0 - steps)


class VESchedule:
    """Variance-exploding schedule, alpha = 1 (Song et al. 2021, arXiv:2011.13456, Eq. 9).

    ``sigma(t) = sigma_min·(sigma_max/sigma_min)^(t/(T-1))`` for training timesteps t in [0, T-1].
    """

    def __init__(
        self, sigma_min: float = 0.01, sigma_max: float = 50.0, num_train_timesteps: int = 1000
    ) -> None:
        if not 0 < sigma_min < sigma_max:
            raise ValueError(f"need 0 < sigma_min < sigma_max, not {sigma_min} and {sigma_max}")
        if num_train_timesteps < 2:
            raise ValueError(f"need at least 2 training timesteps, not {num_train_timesteps}")
        self.discrete = False
        self.first = 0.0
        self.last = float(num_train_timesteps - 1)
        self._log_min = math.log(sigma_min)
        self._log_range = math.log(sigma_max) - self._log_min

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VESchedule) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[float, float, float]:
        return self._log_min, self._log_range, self.last

    def at(self, t: float) -> Point:
        """See `NoiseSchedule.at`."""
        t = min(max(t, self.first), self.last)
        return Point(1.0, math.exp(self._log_min + self._log_range * t / self.last), t)

    def at_ratio(self, ratio: float) -> Point:
        """See `NoiseSchedule.at_ratio`."""
        if not 0 < ratio < math.inf:
            raise ValueError(f"a noise ratio must be positive and finite, not {ratio}")
        t = (math.log(ratio) - self._log_min) / self._log_range * self.last
        return Point(1.0, ratio, min(max(t, self.first), self.last))


class FlowSchedule:
    """Rectified flow, alpha = 1 - s and sigma = s (Liu et al. 2022, arXiv:2209.03003, Eq. 1).

    The network is told t = s·T. A time shift is a matter of spacing, not of the path.
    """

    def __init__(self, num_train_timesteps: int = 1000) -> None:
        if num_train_timesteps < 1:
            raise ValueError(f"num_train_timesteps must be positive, not {num_train_timesteps}")
        self.discrete = False
        self.first = 1.0
        self.last = float(num_train_timesteps)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FlowSchedule) and self.last == other.last

    def __hash__(self) -> int:
        return hash((FlowSchedule, self.last))

    def at(self, t: float) -> Point:
        """See `NoiseSchedule.at`."""
        t = min(max(t, self.first), self.last)
        return Point(1.0 - t / self.last, t / self.last, t)

    def at_ratio(self, ratio: float) -> Point:
        """See `NoiseSchedule.at_ratio`."""
        if ratio <= 0:
            raise ValueError(f"a noise ratio must be positive, not {ratio}")
        s = 1.0 if math.isinf(ratio) else ratio / (1.0 + ratio)
        return Point(1.0 - s, s, s * self.last)


def _on_circle(log_ratio: float) -> tuple[float, float]:
    """(alpha, sigma) with alpha² + sigma² = 1 and ln(sigma/alpha) = log_ratio, without overflow."""
    angle = math.atan(math.exp(min(log_ratio, 700.0)))
    return math.cos(angle), math.sin(angle)
