"""The shapes of the `shapes` world drawn by Pillow from their definitions: an oracle for what draws
them and for what reads them."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

FINE = 16  # drawn so many times larger, then averaged

CENTROIDS = {  # in a box of side 1, y downwards
    "circle": (0.5, 0.5),
    "square": (0.5, 0.5),
    "triangle": (0.5, 2 / 3),
    "cross": (0.5, 0.5),
    "ring": (0.5, 0.5),
    # The centre of the star's circle, whose top is the box's and whose feet lie cos 36° below it.
    "star": (0.5, 1 / (1 + math.cos(math.pi / 5))),
}
AREAS = {
    "circle": math.pi / 4,
    "square": 1.0,
    "triangle": 1 / 2,
    "cross": 5 / 9,
    "ring": math.pi / 4 * (1 - 0.55**2),
    # Ten triangles between the centre, a point and a notch, R r sin 36° / 2 each, with
    # r / R = cos 72° / cos 36°; the box is 2 cos 18° by 1 + cos 36°.
    "star": 5
    * math.cos(2 * math.pi / 5)
    * math.tan(math.pi / 5)
    / (2 * math.cos(math.pi / 10) * (1 + math.cos(math.pi / 5))),
}


def corners(shape: str) -> list[tuple[float, float]]:
    """The outline of a polygon in a box of side 1, y downwards."""
    if shape == "square":
        return [(0, 0), (1, 0), (1, 1), (0, 1)]
    if shape == "triangle":
        return [(0.5, 0), (1, 1), (0, 1)]
    if shape == "cross":
        a, b = 1 / 3, 2 / 3
        return [
            (a, 0), (b, 0), (b, a), (1, a), (1, b), (b, b), (b, 1), (a, 1), (a, b), (0, b), (0, a),
            (a, a),
        ]  # fmt: skip
    golden = (1 + math.sqrt(5)) / 2
    tips = [complex(math.sin(k * math.tau / 5), -math.cos(k * math.tau / 5)) for k in range(5)]
    notches = [-tips[(k + 3) % 5] / golden**2 for k in range(5)]
    points = [p for pair in zip(tips, notches, strict=True) for p in pair]
    left, top = min(p.real for p in tips), min(p.imag for p in tips)
    width, height = max(p.real for p in tips) - left, max(p.imag for p in tips) - top
    return [((p.real - left) / width, (p.imag - top) / height) for p in points]


def cover(shape: str, width: int) -> np.ndarray:
    """How much of each pixel of its box the shape covers, (width, width)."""
    side = width * FINE
    image = Image.new("L", (side, side))
    pen = ImageDraw.Draw(image)
    if shape in ("circle", "ring"):
        pen.ellipse((0, 0, side - 1, side - 1), fill=255)
        if shape == "ring":
            pen.ellipse([0.225 * side, 0.225 * side, 0.775 * side - 1, 0.775 * side - 1], fill=0)
    else:
        # Pillow fills the pixels whose centres a corner names; -0.5 makes a coordinate an edge.
        pen.polygon([(x * side - 0.5, y * side - 0.5) for x, y in corners(shape)], fill=255)
    return np.asarray(image.reduce(FINE)) / 255


def picture(shape: str, width: int, left: int, top: int, paint, ground, *, turn: int = 0):
    """A picture (64, 64, 3), uint8, of the shape in its box, turned by `turn` degrees."""
    frame = np.zeros((64, 64))
    box = Image.fromarray(np.rint(cover(shape, width) * 255).astype(np.uint8))
    frame[top : top + width, left : left + width] = (
        np.asarray(box.rotate(turn, Image.BICUBIC)) / 255
    )
    mixed = np.array(ground) + frame[..., None] * (np.array(paint) - np.array(ground))
    return np.rint(mixed).astype(np.uint8)
