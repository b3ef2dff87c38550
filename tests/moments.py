"""Exact mean and standard deviation of Gaussian data, from a table of coefficients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ldm_core.conformance.moments import DATA, posterior_mean
from ldm_core.numerics.point import Point


def table_moments(table: np.ndarray, points: Sequence[Point]) -> tuple[float, float]:
    """Mean and standard deviation at the end, of a table of coefficients.

    The table has rows of (x, each x0, each step's noise).

    Args:
        points: where the network is called, one for each row but the last.
    """
    calls = len(points)
    known = np.zeros((1 + 2 * calls, 2 + calls))  # each column of the table in (mean, x, noises)
    known[0, :2] = points[0].alpha * DATA.mean, DATA.marginal_std(points[0])
    known[1 + calls :, 2:] = np.eye(calls)
    for i, point in enumerate(points):
        slope, offset = posterior_mean(point)
        known[1 + i] = slope * (table[i] @ known)
        known[1 + i, 0] += offset
    end = table[-1] @ known
    return float(end[0]), float(np.linalg.norm(end[1:]))
