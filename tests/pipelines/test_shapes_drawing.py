"""Every shape of the `shapes` world against closed forms, its symmetries, its box and Pillow."""

import numpy as np
import pytest

from drawn_shapes import AREAS, CENTROIDS, cover
from ldm_pipelines.shapes.scenes import SHAPES
from ldm_pipelines.shapes.world import coverage

WIDTHS = (24, 25, 48)
FOURFOLD = ("circle", "square", "cross", "ring")
pytestmark = [
    pytest.mark.parametrize("shape", SHAPES),
    pytest.mark.parametrize("width", WIDTHS),
]


def test_it_has_the_area_and_the_centroid_of_its_closed_form(shape, width):
    drawn = coverage(shape, width).astype(float)
    assert drawn.mean() == pytest.approx(AREAS[shape], rel=9e-3)
    middles = (np.arange(width) + 0.5) / width
    x, y = (drawn.sum(axis) @ middles / drawn.sum() for axis in (0, 1))
    assert (x, y) == pytest.approx(CENTROIDS[shape], abs=2e-3)


def test_it_is_its_own_mirror_image_and_turned_only_where_it_should_be(shape, width):
    drawn = coverage(shape, width)
    assert np.abs(drawn - drawn[:, ::-1]).max() < 1e-6
    upside_down, quarter = drawn[::-1], drawn.T
    if shape in FOURFOLD:
        assert np.abs(drawn - upside_down).max() < 1e-6
        assert np.abs(drawn - quarter).max() < 1e-6
    else:
        assert np.abs(drawn - upside_down).mean() > 0.2
        assert np.abs(drawn - quarter).mean() > 0.2


def runs(line):
    """Start and end of each covered stretch of a line, as fractions of its length."""
    covered = np.concatenate([[0], line > 0, [0]]).astype(int)
    starts, ends = np.flatnonzero(np.diff(covered) == 1), np.flatnonzero(np.diff(covered) == -1)
    return list(zip(starts / len(line), ends / len(line), strict=True))


# Of the star's box: its feet stand at ±sin 36° of the circle, its arms point at sin 18° above the
# circle's centre.
FEET = np.sin(np.pi / 5) / (2 * np.cos(np.pi / 10))
ARMS = (1 - np.sin(np.pi / 10)) / (1 + np.cos(np.pi / 5))
TOUCHED = {  # where it touches the top, bottom and left side of its box; the right is the left's
    "circle": ([0.5], [0.5], [0.5]),
    "square": ([0.5], [0.5], [0.5]),
    "triangle": ([0.5], [0.5], [1.0]),
    "cross": ([0.5], [0.5], [0.5]),
    "ring": ([0.5], [0.5], [0.5]),
    "star": ([0.5], [0.5 - FEET, 0.5 + FEET], [ARMS]),
}


def test_its_extreme_points_touch_its_box(shape, width):
    drawn = coverage(shape, width)
    sides = (drawn[0], drawn[-1], drawn[:, 0])
    for line, places in zip(sides, TOUCHED[shape], strict=True):
        stretches = runs(line)
        assert len(stretches) == len(places)
        for (start, end), place in zip(stretches, places, strict=True):
            assert start - 2 / width <= place <= end + 2 / width
            if place != 1.0:
                assert (start + end) / 2 == pytest.approx(place, abs=1.5 / width)


def test_it_is_what_pillow_draws(shape, width):
    difference = np.abs(coverage(shape, width) - cover(shape, width))
    assert difference.mean() < 0.01
    assert difference.max() < 0.15
