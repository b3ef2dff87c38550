"""The noise schedule of Würstchen and Stable Cascade, in continuous time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ldm_core.errors import LdmError
from ldm_core.numerics.point import Point
from ldm_core.values import is_number

CLASS = "DDPMWuerstchenScheduler"
LEAST, MOST = 1e-4, 0.9999  # alpha², at the two ends


class CosineSchedule:
    """Cosine of a continuous time (Nichol & Dhariwal 2021, arXiv:2102.09672, Eq. 17), with alpha²
    held within [1e-4, 0.9999], as Würstchen was trained (Pernias et al. 2023, arXiv:2306.00637).

    The time u in [0, 1] that the network is told is t / 1000.

    Args:
        scaler: above 1, u becomes 1 - (1 - u)^scaler before the cosine; below 1, u^scaler.
        s: the cosine's offset.
    Raises:
        ValueError: one of them is not positive.
    """

    def __init__(self, scaler: float = 1.0, s: float = 0.008) -> None:
        if not (scaler > 0 and s > 0):
            raise ValueError(f"scaler and s must be positive, not {scaler} and {s}")
        self.discrete = False
        self.first = 0.0
        self.last = 1000.0
        self._scaler = float(scaler)
        self._s = float(s)
        self._at_zero = self._cosine(0.0) ** 2

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CosineSchedule) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[float, float]:
        return self._scaler, self._s

    def at(self, t: float) -> Point:
        """See `NoiseSchedule.at`; near the two ends, where alpha is held, points lie alike."""
        t = min(max(t, self.first), self.last)
        u = t / self.last
        if self._scaler > 1:
            u = 1 - (1 - u) ** self._scaler
        elif self._scaler < 1:
            u = u**self._scaler
        square = min(max(self._cosine(u) ** 2 / self._at_zero, LEAST), MOST)
        return Point(math.sqrt(square), math.sqrt(1 - square), t)

    def at_ratio(self, ratio: float) -> Point:
        """See `NoiseSchedule.at_ratio`."""
        if ratio <= 0:
            raise ValueError(f"a noise ratio must be positive, not {ratio}")
        if math.isinf(ratio):
            return Point(0.0, 1.0, self.last)
        length = math.hypot(1.0, ratio)
        alpha, sigma = 1 / length, ratio / length
        angle = math.acos(min(alpha * math.sqrt(self._at_zero), 1.0))
        u = min(max(angle * 2 / math.pi * (1 + self._s) - self._s, 0.0), 1.0)
        if self._scaler > 1:
            u = 1 - (1 - u) ** (1 / self._scaler)
        elif self._scaler < 1:
            u = u ** (1 / self._scaler)
        return Point(alpha, sigma, u * self.last)

    def _cosine(self, u: float) -> float:
        return math.cos((u + self._s) / (1 + self._s) * math.pi / 2)


def read_cosine_schedule(config: Mapping[str, Any], whose: str) -> CosineSchedule:
    """What a ``scheduler_config.json`` of a `CLASS` says.

    Args:
        whose: model it is of, for messages.
    Raises:
        LdmError: it is of another class, or says what cannot be.
    """
    cls, scaler, s = config.get("_class_name"), config.get("scaler", 1.0), config.get("s", 0.008)
    if cls != CLASS or not (is_number(scaler) and is_number(s) and scaler > 0 and s > 0):
        raise LdmError(
            f"scheduler_config.json: {whose} has a {CLASS} with positive numbers for scaler and s; "
            f"this one is a {cls} with scaler {scaler!r} and s {s!r}."
        )
    return CosineSchedule(scaler, s)
