"""Which training timesteps a batch sees."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt

MIDDLE = (0.25, 0.90)  # where a picture's content is decided, as fractions of all timesteps


def draw_timesteps(
    rng: np.random.Generator, batch: int, num_train_timesteps: int
) -> npt.NDArray[np.int64]:
    """Timesteps 0 … T-1, half of them from anywhere and half from the middle; shape (batch,).

    They are spread evenly over the batch from one random start, which makes the loss less noisy
    (Kingma et al. 2021, arXiv:2107.00630, appendix I.1), and in random order.
    """
    spread = (rng.random() + np.arange(batch) / batch) % 1
    low, high = MIDDLE
    inside = 0.5 + 0.5 * (high - low)
    cumulative = [0.0, 0.5 * low, 0.5 * low + inside, 1.0]
    fractions = np.interp(rng.permutation(spread), cumulative, [0.0, low, high, 1.0])
    steps = (fractions * num_train_timesteps).astype(np.int64)
    return cast(npt.NDArray[np.int64], np.minimum(steps, num_train_timesteps - 1))
