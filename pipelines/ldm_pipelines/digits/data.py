"""The handwritten digits that come with scikit-learn, as pictures of 32x32 pixels.

1,797 digits of 8x8 cells with levels 0 to 16 (Alpaydin & Kaynak 1998, UCI Machine Learning
Repository, doi:10.24432/C50P49, CC BY 4.0). Every second one, from the first on, is for training;
the others are kept for tests and never trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from ldm_core.errors import LdmError

Cells = npt.NDArray[np.float64]
Pictures = npt.NDArray[np.uint8]
SIDE = 32
CELL = SIDE // 8
LEVELS = 16


@dataclass(frozen=True)
class Half:
    """Digits: cells (n, 8, 8) with levels 0 to 16, labels (n,) from 0 to 9."""

    cells: Cells
    labels: npt.NDArray[np.int64]


@cache
def halves() -> tuple[Half, Half]:
    """The training half and the test half.

    Raises:
        LdmError: scikit-learn, which brings the data, is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise LdmError(
            "the digits come with scikit-learn: pip install 'ldm-core[digits]'"
        ) from None
    digits = load_digits()
    cells, labels = digits.images.astype(np.float64), digits.target.astype(np.int64)
    return Half(cells[::2], labels[::2]), Half(cells[1::2], labels[1::2])


def to_pictures(cells: Cells) -> Pictures:
    """White ink on black, (n, 32, 32, 3); each cell a block of 4x4 pixels."""
    grey = np.round(np.clip(cells, 0, LEVELS) * (255 / LEVELS)).astype(np.uint8)
    large = grey.repeat(CELL, axis=1).repeat(CELL, axis=2)
    return np.repeat(large[..., None], 3, axis=3)


def to_cells(pictures: Pictures) -> Cells:
    """The mean level of each cell, (n, 8, 8) in 0 to 16; the inverse of `to_pictures`."""
    grey = pictures.astype(np.float64).mean(axis=3)
    blocks = grey.reshape(len(pictures), 8, CELL, 8, CELL)
    return np.asarray(blocks.mean(axis=(2, 4)) * (LEVELS / 255))


def varied(cells: Cells, rng: np.random.Generator) -> Cells:
    """Each digit turned, stretched and moved a little, as another hand might write it.

    Up to 8 degrees, 8% and 0.4 cells; a third of them stay as they are.
    """
    from scipy.ndimage import affine_transform

    variants = cells.copy()
    centre = np.array([3.5, 3.5])
    for i in np.flatnonzero(rng.random(len(cells)) > 1 / 3):
        angle = np.deg2rad(rng.uniform(-8, 8))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = turn @ np.diag(rng.uniform(0.92, 1.08, size=2))
        offset = centre - matrix @ centre + rng.uniform(-0.4, 0.4, size=2)
        variants[i] = affine_transform(cells[i], matrix, offset, order=1)
    return np.clip(variants, 0, LEVELS)
