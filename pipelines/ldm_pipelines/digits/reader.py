"""Reads handwritten digits, and says how near they are to others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ldm_core.errors import LdmError
from ldm_pipelines.digits.data import Cells, Half

Labels = npt.NDArray[np.int64]
Reader = Callable[[Cells], Labels]


def fit_reader(half: Half) -> Reader:
    """A support vector machine fitted on these digits alone (Cortes & Vapnik 1995,
    doi:10.1007/BF00994018), with a radial kernel: cells (n, 8, 8) to labels (n,).

    Raises:
        LdmError: scikit-learn is not installed.
    """
    try:
        from sklearn.svm import SVC
    except ImportError:
        raise LdmError(
            "reading digits needs scikit-learn: pip install 'ldm-core[digits]'"
        ) from None
    machine = SVC(gamma=0.001, C=10.0).fit(_flat(half.cells), half.labels)

    def read(cells: Cells) -> Labels:
        return np.asarray(machine.predict(_flat(cells)), np.int64)

    return read


def nearest_distances(cells: Cells, others: Cells) -> npt.NDArray[np.float64]:
    """Euclidean distance of each digit to the nearest of the others, in levels, (n,)."""
    from scipy.spatial import KDTree

    distances, _ = KDTree(_flat(others)).query(_flat(cells))
    return np.asarray(distances, np.float64)


def _flat(cells: Cells) -> Cells:
    return cells.reshape(len(cells), -1)
