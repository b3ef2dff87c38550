"""How Karras et al.'s samplers scale their first x."""

from __future__ import annotations

import math

from ldm_core.numerics.point import Point


def karras_start(first: Point, last: Point) -> float:
    """sigma, where the grid starts at the end of the path (Karras et al. 2022, arXiv:2206.00364,
    Algorithm 1); part-way, where x also holds signal, its standard deviation for unit-variance
    data. Diffusers draws the same line between its spacings."""
    return first.sigma if first == last else math.hypot(first.alpha, first.sigma)
