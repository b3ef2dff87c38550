"""The `shapes` world: 64 x 64 pictures of one coloured shape, and the captions that describe them.

Everything here is drawn by code, so a training set has no size limit, no licence and no errors.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import product
from typing import cast

import numpy as np
import numpy.typing as npt

from ldm_core.errors import LdmError

Array = npt.NDArray[np.float32]

SIDE = 64
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
COLOURS = {
    "red": (220, 40, 40),
    "orange": (240, 140, 30),
    "yellow": (245, 220, 50),
    "green": (50, 170, 70),
    "blue": (40, 90, 210),
    "purple": (140, 60, 180),
    "black": (20, 20, 20),
    "white": (245, 245, 245),
}
SIZES = {"small": (24, 28), "large": (40, 48)}  # bounding box in pixels, both ends included
PLACES = {  # direction of the shape's centre from the picture's, in (x, y), y downwards
    "in the center": (0, 0),
    "at the top left": (-1, -1),
    "at the top right": (1, -1),
    "at the bottom left": (-1, 1),
    "at the bottom right": (1, 1),
}
CAPTION = re.compile(
    f"a (?P<size>{'|'.join(SIZES)}) (?P<colour>{'|'.join(COLOURS)}) (?P<shape>{'|'.join(SHAPES)})"
    f"(?: (?P<place>{'|'.join(PLACES)}))? on a (?P<background>{'|'.join(COLOURS)}) background"
)
MARGIN = 1  # a shape never touches the picture's edge
SUPERSAMPLING = 8


@dataclass(frozen=True)
class Scene:
    """What a caption says: one shape, its size, its colours and, perhaps, its place."""

    shape: str
    colour: str
    background: str
    size: str
    place: str | None = None

    @classmethod
    def from_caption(cls, caption: str) -> Scene:
        """The scene that a caption of this world describes.

        Raises:
            LdmError: the caption is not worded as this world's are.
        """
        match = CAPTION.fullmatch(caption)
        if match is None:
            raise LdmError(
                f"{caption!r} is not worded like 'a large red circle on a blue background' or "
                "'a small yellow star at the top left on a black background'"
            )
        return cls(**match.groupdict())

    @property
    def caption(self) -> str:
        """The scene in words: ``a small yellow star at the top left on a black background``."""
        place = f" {self.place}" if self.place else ""
        return f"a {self.size} {self.colour} {self.shape}{place} on a {self.background} background"

    @property
    def held_out(self) -> bool:
        """Whether training never shows this combination of shape, colour and background."""
        names = list(COLOURS)
        number = (
            SHAPES.index(self.shape)
            + 2 * names.index(self.colour)
            + 3 * names.index(self.background)
        )
        return number % 10 == 0


def combinations(*, held_out: bool) -> list[tuple[str, str, str]]:
    """Every (shape, colour, background) that is held out of training, or every one that is not."""
    return [
        (shape, colour, background)
        for shape, colour, background in product(SHAPES, COLOURS, COLOURS)
        if colour != background and Scene(shape, colour, background, "small").held_out == held_out
    ]


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

    In the pentagram each point lies between two of the five lines through every other vertex:
    a point is in the star when at most one of the five half-planes leaves it out.
    """
    turns = np.deg2rad(90 + 72 * np.arange(5))
    vertex_x, vertex_y = np.cos(turns), -np.sin(turns)
    centre = (vertex_y.max() + vertex_y.min()) / 2
    px = x * vertex_x.max()
    py = centre + y * (vertex_y.max() - vertex_y.min()) / 2
    left_out = np.zeros(x.shape, dtype=int)
    for i in range(5):
        normal = np.deg2rad(90 + 72 * i + 36)
        distance = px * np.cos(normal) - py * np.sin(normal)
        left_out += distance > np.cos(np.deg2rad(72))
    return left_out <= 1


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
