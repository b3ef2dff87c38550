"""The shapes world draws what its captions say, and the judge reads it back."""

import numpy as np
import pytest

from ldm_pipelines.shapes.checker import judge, read
from ldm_pipelines.shapes.scenes import COLOURS, MARGIN, PLACES, SHAPES, SIZES, Scene, combinations
from ldm_pipelines.shapes.world import draw_picture, draw_scene, paint


def test_captions_are_worded_as_stated():
    assert Scene("circle", "red", "blue", "large").caption == (
        "a large red circle on a blue background"
    )
    assert Scene("star", "yellow", "black", "small", "at the top left").caption == (
        "a small yellow star at the top left on a black background"
    )


def test_captions_are_read_back():
    rng = np.random.default_rng(6)
    for _ in range(200):
        scene = draw_scene(rng)
        assert Scene.from_caption(scene.caption) == scene
    with pytest.raises(ValueError, match="not worded"):
        Scene.from_caption("a large grey zebra on a blue background")


def test_the_judge_takes_captions():
    picture = paint(Scene("ring", "green", "black", "large"), 44, 10, 10)
    assert judge(picture, "a large green ring in the center on a black background")
    assert not judge(picture, "a small green ring on a black background")


def test_thirty_of_336_combinations_are_held_out():
    held_out, seen = combinations(held_out=True), combinations(held_out=False)
    assert (len(held_out), len(seen)) == (30, 306)
    assert not set(held_out) & set(seen)
    assert ("circle", "red", "red") not in held_out + seen
    # square 1 + 2 * red 0 + 3 * green 3 = 10; circle 0 + 2 * orange 1 + 3 * white 7 = 23
    assert ("square", "red", "green") in held_out
    assert ("circle", "orange", "white") in seen


@pytest.mark.parametrize("held_out", [False, True])
def test_drawn_scenes_keep_to_their_side_of_the_split(held_out):
    rng = np.random.default_rng(0)
    scenes = [draw_scene(rng, held_out=held_out) for _ in range(400)]
    assert {s.held_out for s in scenes} == {held_out}
    assert {s.shape for s in scenes} == set(SHAPES)
    assert {s.size for s in scenes} == set(SIZES)
    assert {s.place for s in scenes} == {None, *PLACES}
    assert all(s.colour != s.background for s in scenes)


def test_a_shape_lies_inside_and_fills_its_box():
    rng = np.random.default_rng(1)
    for _ in range(300):
        scene = draw_scene(rng)
        picture = draw_picture(scene, rng)
        changed = (picture != np.array(COLOURS[scene.background])).any(axis=-1)
        rows, columns = np.nonzero(changed)
        for low, high in ((rows.min(), rows.max()), (columns.min(), columns.max())):
            assert low >= MARGIN
            assert high < 64 - MARGIN
        smallest, largest = SIZES[scene.size]
        assert smallest <= columns.max() - columns.min() + 1 <= largest


def test_colours_are_those_of_the_palette():
    picture = paint(Scene("square", "red", "blue", "large"), 40, 12, 12)
    assert picture[32, 32].tolist() == [220, 40, 40]
    assert picture[0, 0].tolist() == [40, 90, 210]


@pytest.mark.parametrize("held_out", [False, True])
def test_the_judge_reads_drawn_pictures(held_out):
    rng = np.random.default_rng(2)
    right = 0
    for _ in range(200):
        scene = draw_scene(rng, held_out=held_out)
        right += all(read(draw_picture(scene, rng)).agrees(scene).values())
    assert right >= 198


def test_the_judge_reads_through_noise_and_floats():
    rng = np.random.default_rng(3)
    for _ in range(50):
        scene = draw_scene(rng)
        noisy = draw_picture(scene, rng) / 255 + 0.05 * rng.standard_normal((64, 64, 3))
        assert all(read(np.clip(noisy, 0, 1)).agrees(scene).values()), scene


def test_the_judge_tells_what_is_wrong():
    drawn = Scene("circle", "red", "blue", "small", "at the top left")
    picture = draw_picture(drawn, np.random.default_rng(4))
    asked = Scene("square", "red", "blue", "large", "in the center")
    assert read(picture).agrees(asked) == {
        "background": True,
        "colour": True,
        "size": False,
        "place": False,
        "shape": False,
    }


def test_the_judge_recognises_no_shape_in_noise_or_in_nothing():
    noise = np.random.default_rng(5).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for picture in (noise, np.full((64, 64, 3), 20, np.uint8)):
        assert read(picture).shape is None


def test_the_judge_refuses_other_sizes():
    with pytest.raises(ValueError, match=r"\(64, 64, 3\)"):
        read(np.zeros((32, 32, 3), np.uint8))


def test_a_caption_without_a_place_leaves_it_free():
    scene = Scene("cross", "white", "purple", "small")
    assert read(paint(scene, 26, 30, 3)).agrees(scene)["place"]
