"""The network of `gauss`, in a module of its own: torch is imported when a model is loaded."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GaussNetwork(nn.Module):
    """E[noise - x0 | x] where each pixel is Gaussian and knows nothing of the others.

    Its two weights are a pixel's mean and standard deviation.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.tensor(0.0))
        self.std = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        """x = (1 - s)·x0 + s·noise, (rows, 1, height, width) float32; s (rows,)."""
        mean, std = self.mean.float(), self.std.float()
        s = s.reshape(-1, 1, 1, 1)
        variance = ((1 - s) * std) ** 2 + s**2
        x0 = mean + (1 - s) * std**2 / variance * (x - (1 - s) * mean)
        return (x - x0) / s
