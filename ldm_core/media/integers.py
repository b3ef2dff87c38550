"""Samples of a sound as the whole numbers that files hold, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

BITS = 24
"""Of a sample in a file: as many as float32 tells apart near the loudest."""
LOUDEST = 2 ** (BITS - 1)


def to_integers(samples: Array) -> tuple[Array, float]:
    """Samples as whole numbers of 24 bits, rounded to the nearest.

    Args:
        samples: (channels, samples), float, 1 being the loudest.
    Returns:
        Whole numbers (samples, channels), int32, and the share of samples beyond [-1, 1], which are
        cut off there.
    """
    import numpy as np

    scaled = np.rint(np.asarray(samples, dtype=np.float64).T * LOUDEST)
    # 1 itself is one step above the largest whole number, and nothing that is lost
    beyond = float(((scaled > LOUDEST) | (scaled < -LOUDEST)).mean()) if scaled.size else 0.0
    return np.ascontiguousarray(scaled.clip(-LOUDEST, LOUDEST - 1).astype(np.int32)), beyond


def to_samples(integers: Array) -> Array:
    """Samples (channels, samples) float32 in [-1, 1) of whole numbers (samples, channels) of 24
    bits; undoes `to_integers`, where nothing is cut off."""
    import numpy as np

    samples: Array = (integers.T.astype(np.float64) / LOUDEST).astype(np.float32)
    return samples
