"""Features of convolutions with random weights."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from ldm_plugins.metrics.shared.features import Features

if TYPE_CHECKING:
    from torch import Tensor, nn

SIDE = 64
"""Pixels on a side, to which pictures are scaled."""
CHANNELS = (3, 16, 32, 64)


def random_features() -> Features:
    """Mean and deviation over the picture of the last channels of three convolutions with weights
    drawn once and for all: 128 values. Networks with random weights compare pictures of kinds that
    no network was trained on (Naeem et al. 2020, arXiv:2002.09797, Section 4.2)."""
    return Features("random convolutions", rows)


def rows(pictures: Tensor) -> Tensor:
    import torch
    from torch.nn.functional import interpolate

    if tuple(pictures.shape[-2:]) != (SIDE, SIDE):
        pictures = interpolate(
            pictures, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False
        )
    maps = _network().to(pictures.device)(pictures * 2 - 1).flatten(2)
    return torch.cat([maps.mean(2), maps.std(2)], dim=1)


@cache
def _network() -> nn.Module:
    import torch
    from torch import nn

    generator, layers = torch.Generator().manual_seed(0), []
    for before, after in pairwise(CHANNELS):
        layer = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
        with torch.no_grad():  # He et al. 2015, arXiv:1502.01852, Eq. 10
            scale = (2 / (before * 9)) ** 0.5
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * scale)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers).eval().requires_grad_(False)
