"""The `shapes` world: 64 x 64 pictures of one coloured shape, and the captions that describe them.

Everything here is drawn by code, so a training set has no size limit, no licence and no errors.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import cast

import numpy as np
import numpy.typing as npt

from ldm_core.errors import LdmError
from ldm_pipelines.shapes.scenes import (
    COLOURS,
    MARGIN,
    PLACES,
    SHAPES,
    SIDE,
    SIZES,
    Scene,
    combinations,
)

Array = npt.NDArray[np.float32]

SUPERSAMPLING = 8


def draw_scene(rng: np.random.Generator, *, held_out: bool = False) -> Scene:
    """Draw a scene at random; half of them name a place."""
    choices = _combinations(held_out)
    shape, colour, background = choices[rng.integers(len(choices))]
    size = str(rng.choice(list(SIZES)))
    place = str(rng.choice(list(PLACES))) if rng.random() < 0.5 else None
    return Scene(shape, colour, background, size, place)


def draw_picture(scene: Scene, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Draw one picture of the scene, shape (64, 64, 3); size and position vary within its words."""
    smallest, largest = SIZES[scene.size]
    width = int(rng.integers(smallest, largest + 1))
    left, top = _position(scene.place, width, rng)
    return paint(scene, width, left, top)


def paint(scene: Scene, width: int, left: int, top: int) -> npt.NDArray[np.uint8]:
    """Paint the scene's shape, `width` pixels wide, with its box's corner at (left, top)."""
    cover = np.zeros((SIDE, SIDE, 1), np.float32)
    cover[top : top + width, left : left + width, 0] = coverage(scene.shape, width)
    colour = np.array(COLOURS[scene.colour], np.float32)
    background = np.array(COLOURS[scene.background], np.float32)
    return np.rint(background + cover * (colour - background)).astype(np.uint8)


@cache
def coverage(shape: str, width: int) -> Array:
    """How much of each pixel the shape covers, 0 to 1, shape (width, width)."""
    fine = width * SUPERSAMPLING
    axis = (np.arange(fine) + 0.5) / fine * 2 - 1
    x, y = np.meshgrid(axis, axis)  # the bounding box is [-1, 1] x [-1, 1], y downwards
    inside = _inside(shape, x, y)
    blocks = inside.reshape(width, SUPERSAMPLING, width, SUPERSAMPLING)
    return cast(Array, blocks.mean(axis=(1, 3)).astype(np.float32))


def _inside(
    shape: str, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Whether the points (x, y) of the box [-1, 1]² lie in the shape."""
    if shape == "circle":
        return x**2 + y**2 <= 1
    if shape == "square":
        return np.ones_like(x, dtype=bool)
    if shape == "triangle":
        return np.abs(x) <= (y + 1) / 2
    if shape == "star":
        return _inside_star(x, y)
    if shape == "cross":
        return (np.abs(x) <= 1 / 3) | (np.abs(y) <= 1 / 3)
    if shape == "ring":
        radius = x**2 + y**2
        return (radius <= 1) & (radius >= 0.55**2)
    raise LdmError(f"no shape named {shape!r}; the shapes are {', '.join(SHAPES)}")


def _inside_star(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """A five-pointed star, one point up, stretched to fill the box.

    The pentagram's five lines each join two vertices and cut off the one between them, whose
    direction is the line's normal; a point is in the star when it lies beyond at most one line.
    """
    turns = np.deg2rad(90 + 72 * np.arange(5))
    vertex_x, vertex_y = np.cos(turns), -np.sin(turns)
    centre = (vertex_y.max() + vertex_y.min()) / 2
    px = x * vertex_x.max()
    py = centre + y * (vertex_y.max() - vertex_y.min()) / 2
    beyond = np.zeros(x.shape, dtype=int)
    for normal_x, normal_y in zip(vertex_x, vertex_y, strict=True):
        beyond += px * normal_x + py * normal_y > np.cos(np.deg2rad(72))
    return beyond <= 1


def _position(place: str | None, width: int, rng: np.random.Generator) -> tuple[int, int]:
    """Left and top of a shape's box; the slack is how far a centred shape may move."""
    last = SIDE - MARGIN - width
    if place is None:
        return int(rng.integers(MARGIN, last + 1)), int(rng.integers(MARGIN, last + 1))
    slack = (SIDE - width) // 2
    ends = []
    for direction in PLACES[place]:
        if direction == 0:
            near = slack // 8
            ends.append(slack + int(rng.integers(-near, near + 1)))
        else:
            inset = int(rng.integers(0, slack // 4 + 1))
            ends.append(MARGIN + inset if direction < 0 else last - inset)
    return ends[0], ends[1]


@lru_cache(maxsize=2)
def _combinations(held_out: bool) -> list[tuple[str, str, str]]:
    return combinations(held_out=held_out)
