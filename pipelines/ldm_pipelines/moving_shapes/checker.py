"""A judge for the `moving-shapes` world: reads a video's frames and says what moves where.

It knows nothing of captions or of how a video came to be. The background is the palette colour
nearest to the median of the pixels on the picture's edge; what moves is what differs from that
median; where it is, is the centroid of its pixels, each by how much it differs; where it moves to
is read from the centroid's whole path. The shape is read from how much of its bounding box it
fills: a square all, a circle pi / 4, a triangle half.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ldm_core.errors import LdmError
from ldm_pipelines.moving_shapes.scenes import COLOURS, DIRECTIONS, FRAMES, SIDE, MotionReading

Floats = npt.NDArray[np.floating[Any]]

DIFFERS = 60.0  # levels (Euclidean, of RGB) from the background at which a pixel is something else
AREA = (60, 1200)  # pixels that the shape may cover; a triangle of 20 pixels covers 200
FAR = 20.0  # pixels that the centroid must travel, of the 31 … 42 of a drawn video
ASIDE = 0.35  # of the way along that the centroid may stray to the side
FILLED = {"square": 1.0, "circle": np.pi / 4, "triangle": 0.5}  # share of the bounding box
BACK = 3.0  # pixels that the centroid may step back from one frame to the next


def read(video: npt.NDArray[np.generic]) -> MotionReading:
    """Read one video, shape (8, 64, 64, 3): uint8 in 0…255 or floats in 0…1.

    Colour, direction and shape are None where a frame shows nothing, or too much; the direction
    also where the path is none of the four.

    Raises:
        LdmError: the video has another shape.
    """
    if video.shape != (FRAMES, SIDE, SIDE, 3):
        raise LdmError(f"a video must have shape (8, 64, 64, 3), not {video.shape}")
    pixels = video.astype(np.float64) * (1 if video.dtype == np.uint8 else 255)
    edges = (pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1])
    ground = np.median(np.concatenate(edges, axis=1).reshape(-1, 3), axis=0)
    background = _nearest(ground)
    away = np.linalg.norm(pixels - ground, axis=-1)
    mask = away > DIFFERS
    areas = mask.sum((1, 2))
    if areas.min() < AREA[0] or areas.max() > AREA[1]:
        return MotionReading(None, None, background, None)
    # The half of the pixels that differ most: the others may be mixed with the background.
    core = pixels[mask & (away >= np.median(away[mask]))]
    colour = _nearest(np.median(core, axis=0))
    direction = _direction(_path(np.where(mask, away, 0)))
    return MotionReading(colour, direction, background, _shape(away / np.median(away[mask])))


def _nearest(colour: Floats) -> str:
    return min(COLOURS, key=lambda name: float(np.linalg.norm(colour - np.array(COLOURS[name]))))


def _shape(cover: Floats) -> str:
    """What fills so much of its bounding box in most frames; cover (frames, side, side) is 1 on
    the shape, 0 on the background and between them on its edge."""
    filled = []
    for shown in cover > 0.5:
        rows, columns = (np.flatnonzero(shown.any(axis)) for axis in (1, 0))
        filled.append(shown.sum() / (np.ptp(rows) + 1) / (np.ptp(columns) + 1))
    return min(FILLED, key=lambda shape: abs(FILLED[shape] - float(np.median(filled))))


def _path(weight: Floats) -> Floats:
    """The centroid (x, y) of each frame, in pixels, y downwards; weight is (frames, side, side)."""
    rows, columns = np.indices(weight.shape[1:])
    total = weight.sum((1, 2))
    return np.stack([(weight * axis).sum((1, 2)) / total for axis in (columns, rows)], axis=1)


def _direction(path: Floats) -> str | None:
    """Where a path (frames, 2) leads, straight and without turning back; None elsewhere."""
    for name, way in DIRECTIONS.items():
        along, aside = path @ np.array(way), path @ np.array(way[::-1])
        far = along[-1] - along[0]
        straight = np.ptp(aside) <= ASIDE * far
        if far >= FAR and straight and np.diff(along).min() >= -BACK:
            return name
    return None
