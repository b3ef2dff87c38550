"""The layer of `int8`, in a module of its own: it is imported when a model is converted."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear


class Int8Linear(nn.Module):
    """A linear layer whose weights are whole numbers from -127 to 127 times a scale a row."""

    scale: Tensor
    weight: Tensor

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight = layer.weight.float()
        scale = weight.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / 127
        self.register_buffer("scale", scale)
        self.register_buffer("weight", (weight / scale).round().to(torch.int8))
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        """(..., in features) to (..., out features)."""
        return linear(x, (self.weight * self.scale).to(x.dtype), self.bias)
