"""The `moving-shapes` world drawn: 8 frames of 64 x 64 pixels, the shape crosses the picture."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ldm_pipelines.moving_shapes.scenes import COLOURS, DIRECTIONS, FRAMES, SIDE, Motion
from ldm_pipelines.shapes.world import coverage

WIDTHS = (22, 26)  # bounding box in pixels, both ends included
NEAR, FAR = 1, 4  # pixels between the box and the picture's edge where the path begins and ends
ASIDE = 4  # pixels that the path may lie off the middle


def draw_video(motion: Motion, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Draw one video of the motion, shape (8, 64, 64, 3).

    Width, distance from the middle, and both ends of the path vary; the speed is even.
    """
    width = int(rng.integers(WIDTHS[0], WIDTHS[1] + 1))
    begin, end = rng.integers(NEAR, FAR + 1, 2)
    along = np.linspace(begin, SIDE - width - end, FRAMES)
    aside = np.full(FRAMES, (SIDE - width) // 2 + rng.integers(-ASIDE, ASIDE + 1))
    x, y = DIRECTIONS[motion.direction]
    if x + y < 0:
        along = along[::-1]
    lefts, tops = (along, aside) if x else (aside, along)
    cover = np.zeros((FRAMES, SIDE, SIDE, 1), np.float32)
    for frame, left, top in zip(cover, np.rint(lefts), np.rint(tops), strict=True):
        rows, columns = slice(int(top), int(top) + width), slice(int(left), int(left) + width)
        frame[rows, columns, 0] = coverage(motion.shape, width)
    paint, ground = (np.array(COLOURS[c], np.float32) for c in (motion.colour, motion.background))
    return np.rint(ground + cover * (paint - ground)).astype(np.uint8)
