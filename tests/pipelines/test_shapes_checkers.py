"""Both checkers of the `shapes` world, on pictures that Pillow draws and the world does not."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

from drawn_shapes import AREAS, CENTROIDS, picture
from ldm_core.errors import LdmError
from ldm_pipelines.shapes import checker, outline
from ldm_pipelines.shapes.scenes import COLOURS, PLACES, SHAPES, Reading, Scene
from ldm_pipelines.shapes.world import draw_picture, draw_scene

CHECKERS = pytest.mark.parametrize(
    "read", [checker.read, outline.read], ids=["templates", "outline"]
)
BOXES = {  # width, left, top: the middle of the picture, and corners a pixel or more from the edge
    ("small", "in the center"): (26, 19, 19),
    ("small", "at the top left"): (24, 3, 1),
    ("small", "at the bottom right"): (28, 34, 35),
    ("large", "in the center"): (44, 10, 10),
    ("large", "at the top right"): (40, 22, 2),
    ("large", "at the bottom left"): (46, 1, 16),
}


@CHECKERS
@pytest.mark.parametrize(("size", "place"), BOXES)
@pytest.mark.parametrize("shape", SHAPES)
def test_it_reads_what_pillow_draws(read, shape, size, place):
    for colour, background in (("red", "blue"), ("white", "black"), ("orange", "yellow")):
        drawn = picture(shape, *BOXES[size, place], COLOURS[colour], COLOURS[background])
        assert read(drawn) == Reading(background, colour, shape, size, place)


@CHECKERS
@pytest.mark.parametrize("width", [24, 48])
@pytest.mark.parametrize(
    ("shape", "turn"), [("star", 180), ("star", 36), ("triangle", 180), ("triangle", 90)]
)
def test_a_turned_shape_is_not_that_shape(read, shape, turn, width):
    drawn = picture(shape, width, 8, 8, COLOURS["red"], COLOURS["blue"], turn=turn)
    assert read(drawn).shape != shape


@CHECKERS
@pytest.mark.parametrize("shape", SHAPES)
def test_it_reads_no_wrong_size_or_place(read, shape):
    for width, left, top in ((34, 15, 15), (26, 29, 19)):
        seen = read(picture(shape, width, left, top, COLOURS["green"], COLOURS["white"]))
        assert seen.size is None if width == 34 else seen.place is None


@CHECKERS
@pytest.mark.parametrize("held_out", [False, True])
def test_it_reads_what_the_world_draws_through_noise(read, held_out):
    rng = np.random.default_rng(2)
    for _ in range(100):
        scene = draw_scene(rng, held_out=held_out)
        noisy = draw_picture(scene, rng) / 255 + 0.04 * rng.standard_normal((64, 64, 3))
        assert all(read(np.clip(noisy, 0, 1)).agrees(scene).values()), scene


@CHECKERS
def test_it_recognises_no_shape_where_there_is_none_or_two(read):
    noise = np.random.default_rng(5).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    two = picture("circle", 26, 2, 2, COLOURS["red"], COLOURS["blue"])
    two = np.where(two == two[0, 0], two[::-1, ::-1], two)
    for drawn in (noise, np.full((64, 64, 3), 20, np.uint8), two):
        assert read(drawn).shape is None


@CHECKERS
def test_it_refuses_pictures_of_another_size(read):
    with pytest.raises(LdmError, match=r"\(64, 64, 3\)"):
        read(np.zeros((32, 32, 3), np.uint8))


@CHECKERS
@pytest.mark.parametrize("width", [24, 28, 40, 48])
def test_a_star_on_its_tip_that_its_box_cuts_off_is_none(read, width):
    """About the middle of its circle, which lies below the box's: half-planes turned by 36°."""
    left, top = 8, 8
    star = picture("star", width, left, top, COLOURS["black"], COLOURS["white"], turn=180)
    down = round((2 * CENTROIDS["star"][1] - 1) * width)
    star[top + down : top + width] = star[top : top + width - down]
    star[top : top + down] = COLOURS["white"]
    assert read(star).shape is None


def test_the_checkers_share_no_code_with_each_other_or_the_drawing():
    for module in (checker, outline):
        tree = ast.parse(Path(str(module.__file__)).read_text())
        own = {
            node.module
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ldm")
        }
        assert own == {"ldm_core.errors", "ldm_pipelines.shapes.scenes"}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_outlines_are_those_of_the_definitions(shape):
    """Area and centroid in closed form, and a star that is its fifth harmonic with a point up."""
    exact = outline.outlines()[shape]
    hole = 1 - 0.55**2 if shape == "ring" else 1
    assert exact.area * hole == pytest.approx(AREAS[shape], rel=1e-9)
    assert exact.centroid == pytest.approx(CENTROIDS[shape], abs=1e-9)
    up = {"star": 5, "triangle": 3}.get(shape)
    if up:
        # cos(n (theta - 90°)) has the coefficient exp(-i n 90°) / 2, and so has r's largest term.
        largest = exact.harmonics[up - 1]
        assert np.argmax(np.abs(exact.harmonics)) == up - 1
        assert largest / abs(largest) == pytest.approx(np.exp(-1j * up * np.pi / 2), abs=1e-6)


def test_a_reading_is_held_against_a_scene_word_by_word():
    scene = Scene("star", "red", "blue", "large")
    assert set(PLACES) > {"in the center"}
    assert all(Reading("blue", "red", "star", "large", None).agrees(scene).values())
    wrong = Reading("blue", "white", None, "small", "in the center")
    assert wrong.agrees(scene) == {
        "background": True, "colour": False, "size": False, "place": True, "shape": False,
    }  # fmt: skip


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "ring"])
def test_a_shape_is_recognised_within_half_its_distance_to_the_next(shape):
    exact = {name: o.harmonics for name, o in outline.outlines().items() if name != "ring"}
    own = exact.pop(shape)
    away = own - min(exact.values(), key=lambda other: np.linalg.norm(own - other))
    assert outline._shape(own + 0.45 * away, 0.0) == shape
    assert outline._shape(own + 0.55 * away, 0.0) != shape


@pytest.mark.parametrize("shape", ["square", "cross", "circle"])
def test_a_shape_with_a_hole_is_not_that_shape(shape):
    drawn = picture(shape, 48, 8, 8, COLOURS["red"], COLOURS["blue"])
    drawn[27:37, 27:37] = COLOURS["blue"]
    assert outline.read(drawn).shape is None
