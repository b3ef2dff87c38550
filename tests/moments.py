"""Exact mean and standard deviation of Gaussian data, from a table of coefficients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ldm_core.conformance import GaussianData
from ldm_core.numerics.point import Point

DATA = GaussianData()


def table_moments(
    table: np.ndarray, points: Sequence[Point], data: GaussianData = DATA
) -> tuple[float, float]:
    """Mean and standard deviation at the end, of a table of coefficients.

    The table has rows of (x, each x0, each step's noise).

    Args:
        points: where the network is called, one for each row but the last.
    """
    calls = len(points)
    symbols = np.zeros((1 + 2 * calls, 2 + calls))  # columns of the table in (mean, x, noises)
    symbols[0, :2] = points[0].alpha * data.mean, data.marginal_std(points[0])
    symbols[1 + calls :, 2:] = np.eye(calls)
    for i, point in enumerate(points):
        # E[x0 | x] of a Gaussian, whose covariance with x is alpha·std²
        slope = point.alpha * data.std**2 / data.marginal_std(point) ** 2
        symbols[1 + i] = slope * (table[i] @ symbols)
        symbols[1 + i, 0] += data.mean * (1 - slope * point.alpha)
    end = table[-1] @ symbols
    return float(end[0]), float(np.linalg.norm(end[1:]))
