"""A judge for the `shapes` world: reads a picture's pixels and says what it shows.

It knows nothing of captions or of how a picture came to be. Colours are the nearest of the
palette; shape, size and position are those of the template with the least squared error. The
templates are Pillow's drawings, not the world's. `ldm_pipelines.shapes.outline` judges by another
principle, and the two share no code.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from ldm_core.errors import LdmError
from ldm_pipelines.shapes.scenes import COLOURS, PLACES, SHAPES, SIDE, SIZES, Reading, Scene

Array = npt.NDArray[np.float32]

WIDTHS = range(20, 53)  # beyond both sizes on either side, so that a wrong size can be told
SIZE_TOLERANCE = 2  # pixels beyond a size's own range
CENTRE_BELOW, CORNER_ABOVE = 0.35, 0.45  # of the distance a centred shape can move
WORST_FIT = 0.35  # squared error over the template's energy; above, no shape is recognised

FINE = 8  # templates are drawn so many times larger, and shrunk by averaging
HOLE = 0.55  # of the ring's diameter
CROSS = [
    (1, 0), (2, 0), (2, 1), (3, 1), (3, 2), (2, 2), (2, 3), (1, 3), (1, 2), (0, 2), (0, 1), (1, 1),
]  # fmt: skip
STAR = [  # points at 90°, 162°, … on a circle of 1000, and the corners between them on one of 382
    (0, -1000), (-225, -309), (-951, -309), (-363, 118), (-588, 809), (0, 382), (588, 809),
    (363, 118), (951, -309), (225, -309),
]  # fmt: skip
POLYGONS = {  # corners of each shape's outline in any unit; they are stretched to its box
    "square": [(0, 0), (1, 0), (1, 1), (0, 1)],
    "triangle": [(1, 0), (2, 2), (0, 2)],
    "star": STAR,
    "cross": CROSS,
}


def read(picture: npt.NDArray[np.generic]) -> Reading:
    """Read one picture, shape (64, 64, 3): uint8 in 0…255 or floats in 0…1.

    Raises:
        LdmError: the picture has another shape.
    """
    if picture.shape != (SIDE, SIDE, 3):
        raise LdmError(f"a picture must have shape (64, 64, 3), not {picture.shape}")
    scale = 1.0 if picture.dtype == np.uint8 else 255.0
    pixels = picture.astype(np.float32) * scale
    background = _nearest(np.median(_border(pixels), axis=0))
    colour = _colour(pixels, background)
    ground, paint = (np.array(COLOURS[name], np.float32) for name in (background, colour))
    change = paint - ground
    cover = ((pixels - ground) @ change) / (change @ change)
    return _match(np.clip(cover, 0, 1), background, colour)


def judge(picture: npt.NDArray[np.generic], caption: str) -> bool:
    """Whether the picture shows everything that the caption says.

    Raises:
        LdmError: the picture's shape or the caption's wording does not belong to this world.
    """
    return all(read(picture).agrees(Scene.from_caption(caption)).values())


def _border(pixels: Array) -> Array:
    edges = (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])
    return np.concatenate(edges)


def _nearest(colour: Array) -> str:
    return min(COLOURS, key=lambda name: float(np.sum((colour - np.array(COLOURS[name])) ** 2)))


def _colour(pixels: Array, background: str) -> str:
    """The palette colour nearest to most pixels that are not background."""
    names = list(COLOURS)
    palette = np.array(list(COLOURS.values()), np.float32)
    nearest = np.argmin(((pixels[:, :, None] - palette) ** 2).sum(-1), axis=-1)
    votes = np.bincount(nearest.ravel(), minlength=len(names))
    votes[names.index(background)] = -1
    return names[int(np.argmax(votes))]


def _match(cover: Array, background: str, colour: str) -> Reading:
    """Find the template nearest to `cover` (64, 64) over all shapes, widths and positions."""
    spectra, energy = _templates()
    overlap = np.fft.irfft2(np.fft.rfft2(cover) * spectra, s=(SIDE, SIDE))
    error = (cover**2).sum() - 2 * overlap + energy[:, :, None, None]
    # A circular correlation also tries boxes across the edge.
    for column, width in enumerate(WIDTHS):
        error[:, column, SIDE - width + 1 :, :] = np.inf
        error[:, column, :, SIDE - width + 1 :] = np.inf
    i, j, top, left = np.unravel_index(int(np.argmin(error)), error.shape)
    if error[i, j, top, left] > WORST_FIT * energy[i, j]:
        return Reading(background, colour, None, None, None)
    width = WIDTHS[int(j)]
    place = _place(int(left), int(top), width)
    return Reading(background, colour, SHAPES[int(i)], _size(width), place)


@lru_cache(maxsize=1)
def _templates() -> tuple[npt.NDArray[np.complex128], npt.NDArray[np.float64]]:
    """Conjugate spectra and energies of all templates, (shapes, widths, …)."""
    frames = np.zeros((len(SHAPES), len(WIDTHS), SIDE, SIDE))
    for i, shape in enumerate(SHAPES):
        for j, width in enumerate(WIDTHS):
            frames[i, j, :width, :width] = _drawn(shape, width)
    return np.conj(np.fft.rfft2(frames)), (frames**2).sum((2, 3))


def _drawn(shape: str, width: int) -> Array:
    """How much of each pixel of its box the shape covers, as Pillow draws it, (width, width)."""
    side = width * FINE
    image = Image.new("L", (side, side))
    pen = ImageDraw.Draw(image)
    if shape in POLYGONS:
        corners = np.array(POLYGONS[shape], float)
        corners = (corners - corners.min(0)) / np.ptp(corners, axis=0) * (side - 1)
        pen.polygon([(float(x), float(y)) for x, y in corners], fill=255)
    else:
        pen.ellipse((0, 0, side - 1, side - 1), fill=255)
        if shape == "ring":
            inset = side * (1 - HOLE) / 2
            pen.ellipse((inset, inset, side - 1 - inset, side - 1 - inset), fill=0)
    return (np.asarray(image.reduce(FINE)) / 255).astype(np.float32)


def _size(width: int) -> str | None:
    for name, (smallest, largest) in SIZES.items():
        if smallest - SIZE_TOLERANCE <= width <= largest + SIZE_TOLERANCE:
            return name
    return None


def _place(left: int, top: int, width: int) -> str | None:
    """The named place of a box, or None between the places."""
    slack = (SIDE - width) / 2
    directions = []
    for start in (left, top):
        offset = (start - slack) / slack
        if abs(offset) <= CENTRE_BELOW:
            directions.append(0)
        elif abs(offset) >= CORNER_ABOVE:
            directions.append(1 if offset > 0 else -1)
        else:
            return None
    return next((name for name, way in PLACES.items() if way == tuple(directions)), None)
