"""A second judge for the `shapes` world, of another principle: the outline as a Fourier series.

A picture is parted into two colours (principal axis and Otsu's threshold), the larger blob's
holes are filled, and the distance r(theta) from its centroid to its edge is expanded in
harmonics. A star is its fifth harmonic, a triangle its third, a square and a cross their fourth
with opposite signs, a circle none; a turned shape has other phases and is not recognised. A shape
is recognised within half its distance to the next one, where none other can be meant. Size
and position follow from area and centroid. No picture is drawn and compared, and nothing is shared
with `ldm_pipelines.shapes.checker`.

Source: Zahn & Roskies 1972, "Fourier Descriptors for Plane Closed Curves"; Otsu 1979, "A
Threshold Selection Method from Gray-Level Histograms".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ldm_core.errors import LdmError
from ldm_pipelines.shapes.scenes import COLOURS, MARGIN, PLACES, SIDE, SIZES, Reading

Floats = npt.NDArray[np.floating[Any]]
Complexes = npt.NDArray[np.complex128]

ANGLES, HARMONICS = 180, 8
FLAT = 8.0  # levels of standard deviation below which a picture is one colour
STRAY = 0.04  # of the blob's area may be painted elsewhere
RING_HOLE, NO_HOLE = (0.2, 0.4), 0.03  # of the filled area; the ring's is 0.55² = 0.30
SIZE_SLACK = 2.0  # pixels beyond a size's own range
CENTRE, CORNER = 0.35, 0.5  # of the way from the middle to the furthest place


@dataclass(frozen=True)
class Outline:
    """What a shape's filled outline is in a box of side 1: exact, from its corners."""

    harmonics: Complexes  # c_1 … c_8 of r(theta) over c_0, about the centroid, theta upwards
    area: float
    centroid: tuple[float, float]  # in x and y, y downwards


def read(picture: npt.NDArray[np.generic]) -> Reading:
    """Read one picture, shape (64, 64, 3): uint8 in 0…255 or floats in 0…1.

    Raises:
        LdmError: the picture has another shape.
    """
    if picture.shape != (SIDE, SIDE, 3):
        raise LdmError(f"a picture must have shape (64, 64, 3), not {picture.shape}")
    pixels = picture.astype(np.float64) * (1 if picture.dtype == np.uint8 else 255)
    parted = _two_colours(pixels)
    if parted is None:
        return Reading(_name(pixels.mean((0, 1))), None, None, None, None)
    ground, paint, cover = parted
    background, colour = _name(ground), _name(paint)
    blob = _blob(cover)
    if blob is None:
        return Reading(background, colour, None, None, None)
    solid, hole = blob
    area = float(solid.sum())
    rows, columns = np.indices(solid.shape) + 0.5
    x, y = float((solid * columns).sum() / area), float((solid * rows).sum() / area)
    shape = _shape(_harmonics(solid, x, y), hole / area)
    if shape is None:
        return Reading(background, colour, None, None, None)
    outline = outlines()[shape]
    width = math.sqrt(area / outline.area)
    middle = (
        x - (outline.centroid[0] - 0.5) * width,
        y - (outline.centroid[1] - 0.5) * width,
    )
    return Reading(background, colour, shape, _size(width), _place(middle, width))


def _two_colours(pixels: Floats) -> tuple[Floats, Floats, Floats] | None:
    """Background, foreground, and how much of each pixel (64, 64) the foreground covers."""
    flat = pixels.reshape(-1, 3)
    spread, axes = np.linalg.eigh(np.cov(flat.T))
    if spread[-1] < FLAT**2:
        return None
    along = (flat - flat.mean(0)) @ axes[:, -1]
    upper = (along > _otsu(along)).reshape(SIDE, SIDE)
    edge = np.concatenate([upper[0], upper[-1], upper[:, 0], upper[:, -1]])
    inside = ~upper if edge.mean() > 0.5 else upper
    for _ in range(2):  # the second time without the mixed pixels of the edge
        ground, paint = np.median(pixels[~inside], axis=0), np.median(pixels[inside], axis=0)
        way = paint - ground
        if way @ way < FLAT**2:
            return None
        # Not clipped to 0…1: noise would then only ever add to the area.
        cover = np.clip(((pixels - ground) @ way) / (way @ way), -1, 2)
        core = cover > 0.9
        inside = core if core.any() else inside
    return ground, paint, cover


def _otsu(values: Floats) -> float:
    """The threshold that leaves the most variance between the two classes."""
    counts, edges = np.histogram(values, bins=128)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    moments = np.cumsum(counts * middles)
    apart = moments[:-1] / below - (moments[-1] - moments[:-1]) / np.maximum(above, 1)
    return float(edges[1 + int(np.argmax(below * above * apart**2))])


def _name(colour: Floats) -> str:
    names = list(COLOURS)
    return names[int(np.argmin(np.linalg.norm(np.array(list(COLOURS.values())) - colour, axis=1)))]


def _blob(cover: Floats) -> tuple[Floats, float] | None:
    """The largest blob with its holes filled, (64, 64), and the area of the holes."""
    labels, count = ndimage.label(cover > 0.5)
    if count == 0:
        return None
    sizes = np.bincount(labels.ravel())[1:]
    mask = labels == 1 + int(np.argmax(sizes))
    near = ndimage.binary_dilation(mask, iterations=2)
    solid = np.where(near, cover, 0.0)
    elsewhere = (cover > 0.5) & ~near
    if elsewhere.sum() > STRAY * solid.sum():
        return None
    hole = ndimage.binary_fill_holes(mask) & ~mask
    hole = ndimage.binary_dilation(hole, iterations=2) if hole.any() else hole
    empty = float((1 - cover)[hole].sum())
    return np.where(hole, 1.0, solid), empty


def _harmonics(solid: Floats, x: float, y: float) -> Complexes:
    """c_1 … c_8 of r(theta) about (x, y), over c_0; r is the length of the ray that is covered."""
    angles = np.arange(ANGLES) / ANGLES * 2 * np.pi
    step = 0.25
    radii = (np.arange(4 * SIDE) + 0.5) * step
    rows = y - 0.5 - np.outer(np.sin(angles), radii)
    columns = x - 0.5 + np.outer(np.cos(angles), radii)
    along = ndimage.map_coordinates(solid, [rows, columns], order=1, mode="constant")
    return _series(along.sum(1) * step)


def _series(radius: Floats) -> Complexes:
    terms = np.fft.fft(radius)[: HARMONICS + 1]
    return np.asarray(terms[1:] / terms[0])


def _shape(harmonics: Complexes, hole: float) -> str | None:
    distances = {
        shape: float(np.linalg.norm(harmonics - outline.harmonics))
        for shape, outline in outlines().items()
        if shape != "ring"
    }
    nearest = min(distances, key=distances.__getitem__)
    if distances[nearest] > _reach(nearest):
        return None
    if nearest == "circle" and RING_HOLE[0] <= hole <= RING_HOLE[1]:
        return "ring"
    return nearest if hole <= NO_HOLE else None


@cache
def _reach(shape: str) -> float:
    """Half the distance of a shape's harmonics to those of the next shape."""
    own = outlines()[shape].harmonics
    others = (o.harmonics for name, o in outlines().items() if name not in (shape, "ring"))
    return min(float(np.linalg.norm(own - other)) for other in others) / 2


def _size(width: float) -> str | None:
    for name, (smallest, largest) in SIZES.items():
        if smallest - SIZE_SLACK <= width <= largest + SIZE_SLACK:
            return name
    return None


def _place(middle: tuple[float, float], width: float) -> str | None:
    """The named place of a box by its middle, or None between the places."""
    reach = SIDE / 2 - MARGIN - width / 2
    ways = [(value - SIDE / 2) / reach for value in middle]
    if any(CENTRE < abs(way) < CORNER for way in ways):
        return None
    rounded = tuple(0 if abs(way) <= CENTRE else int(math.copysign(1, way)) for way in ways)
    return next((name for name, way in PLACES.items() if way == rounded), None)


@cache
def outlines() -> dict[str, Outline]:
    """Each shape's filled outline, from the corners that its definition gives it."""
    third, two_thirds = 1 / 3, 2 / 3
    star = [
        radius * np.exp(1j * np.pi * (0.5 + k / 5))
        for k in range(10)
        for radius in [1.0 if k % 2 == 0 else math.cos(0.4 * np.pi) / math.cos(0.2 * np.pi)]
    ]
    width, height = 2 * math.cos(np.pi / 10), 1 + math.cos(np.pi / 5)
    polygons = {
        "square": [(0.0, 0.0), (0, 1), (1, 1), (1, 0)],
        "triangle": [(0.5, 0.0), (0, 1), (1, 1)],
        "star": [(0.5 + z.real / width, (1 - z.imag) / height) for z in star],
        "cross": [
            (third, 0.0), (third, third), (0, third), (0, two_thirds), (third, two_thirds),
            (third, 1), (two_thirds, 1), (two_thirds, two_thirds), (1, two_thirds), (1, third),
            (two_thirds, third), (two_thirds, 0),
        ],
    }  # fmt: skip
    disc = Outline(np.zeros(HARMONICS, np.complex128), math.pi / 4, (0.5, 0.5))
    return {"circle": disc, "ring": disc} | {s: _of_polygon(p) for s, p in polygons.items()}


def _of_polygon(corners: list[tuple[float, float]]) -> Outline:
    """Area and centroid by Green's theorem; r(theta) where each ray leaves the polygon."""
    here = np.array([complex(x, -y) for x, y in corners])  # y upwards from here on
    there = np.roll(here, -1)
    cross = (here.conj() * there).imag
    area = cross.sum() / 2
    centroid = ((here + there) * cross).sum() / (6 * area)
    here, side = here - centroid, there - here
    rays = np.exp(2j * np.pi * np.arange(ANGLES) / ANGLES)[:, None]
    # On the side from a to a + s lies t·ray where Im(conj(ray)·(a + u·s)) = 0.
    turned_here, turned_side = rays.conj() * here, rays.conj() * side
    with np.errstate(divide="ignore", invalid="ignore"):
        u = -turned_here.imag / turned_side.imag
        length = (turned_here + u * turned_side).real
    length = np.where((u >= -1e-9) & (u <= 1 + 1e-9), length, 0)
    return Outline(_series(length.max(1)), float(abs(area)), (centroid.real, -centroid.imag))
