"""The network whose features the papers' Fréchet Inception distance is of (Heusel et al. 2017,
arXiv:1706.08500): Inception v3 (Szegedy et al. 2015, arXiv:1512.00567) as TensorFlow's file of
2015-12-05 has it, which pools in another way than torchvision's.

Its weights are distributed pickled, for torch-fidelity and pytorch-fid; the page "Evaluate" turns
them into a safetensors file, under the same names.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ldm_plugins.metrics.shared.features import Features
from ldm_plugins.metrics.shared.weights_file import fill, read_tensors, weights_file
from ldm_plugins.shared.stamps import Stamps, stamps

if TYPE_CHECKING:
    from torch import Tensor, nn

SIDE = 299
"""Pixels on a side, to which pictures are scaled."""


def inception_features(source: str) -> Features:
    """The 2048 features before the classes, of pictures in 8 bits that are scaled as torchmetrics
    does by default: bilinear, with antialiasing.

    Args:
        source: a safetensors file of the network's weights, its folder, or an id of the Hub.
    """
    file = weights_file(source, "weights of Inception v3")

    def rows(pictures: Tensor) -> Tensor:
        from torch.nn.functional import interpolate

        scaled = interpolate(
            (pictures * 255).round(), (SIDE, SIDE), mode="bilinear", antialias=True
        )
        features: Tensor = _network(file, stamps(file)).to(pictures.device)((scaled - 128) / 128)
        return features

    return Features(f"inception of {source}", rows)


@lru_cache(maxsize=4)
def _network(file: Path, read: Stamps) -> nn.Module:
    return fill(inception(), read_tensors(file), f"the file {file}")


def inception() -> nn.Module:
    """The network: of (batch, 3, 299, 299) in [-1, 1], (batch, 2048). Its parts are named as
    torchvision's; a block joins the channels of its branches, each a chain of layers."""
    import torch
    from torch import nn

    class Layer(nn.Module):
        """A convolution without bias, normalised by the statistics of training."""

        def __init__(
            self,
            before: int,
            after: int,
            size: tuple[int, int],
            stride: int = 1,
            same: bool = True,
        ) -> None:
            super().__init__()
            padding = (size[0] // 2, size[1] // 2) if same and stride == 1 else (0, 0)
            self.conv = nn.Conv2d(before, after, size, stride, padding, bias=False)
            self.bn = nn.BatchNorm2d(after, eps=0.001)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.bn(self.conv(x)).relu()
            return out

    class Block(nn.Module):
        """Branches side by side, each the names of its layers one after another; those joined by
        ``+`` take the same and stand side by side."""

        def __init__(self, branches: tuple[str, ...], pool: nn.Module, layers: dict[str, Layer]):
            super().__init__()
            self.branches, self.pool = branches, pool
            for name, layer in layers.items():
                self.add_module(name, layer)

        def forward(self, x: Tensor) -> Tensor:
            outputs = []
            for branch in self.branches:
                outs = [x]
                for step in branch.split():
                    if step == "pool":
                        outs = [self.pool(outs[0])]
                    else:
                        several = [self.get_submodule(f"branch{name}") for name in step.split("+")]
                        outs = [layer(outs[0]) for layer in several]
                outputs += outs
            return torch.cat(outputs, 1)

    def block(before: int, pool: nn.Module, branches: str, **layers: tuple[int, ...]) -> Block:
        sizes: dict[str, Layer] = {}
        for name, (inner, after, high, wide, stride) in layers.items():
            sizes[f"branch{name[1:]}"] = Layer(inner or before, after, (high, wide), stride)
        return Block(tuple(branches.split(", ")), pool, sizes)

    mean = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    largest, halved = nn.MaxPool2d(3, 1, 1), nn.MaxPool2d(3, 2)

    def a(before: int, pooled: int) -> Block:
        return block(
            before, mean, "1x1, 5x5_1 5x5_2, 3x3dbl_1 3x3dbl_2 3x3dbl_3, pool _pool",
            _1x1=(0, 64, 1, 1, 1), _5x5_1=(0, 48, 1, 1, 1), _5x5_2=(48, 64, 5, 5, 1),
            _3x3dbl_1=(0, 64, 1, 1, 1), _3x3dbl_2=(64, 96, 3, 3, 1),
            _3x3dbl_3=(96, 96, 3, 3, 1), __pool=(0, pooled, 1, 1, 1),
        )  # fmt: skip

    def c(mid: int) -> Block:
        return block(
            768, mean, "1x1, 7x7_1 7x7_2 7x7_3, "
            "7x7dbl_1 7x7dbl_2 7x7dbl_3 7x7dbl_4 7x7dbl_5, pool _pool",
            _1x1=(0, 192, 1, 1, 1), _7x7_1=(0, mid, 1, 1, 1), _7x7_2=(mid, mid, 1, 7, 1),
            _7x7_3=(mid, 192, 7, 1, 1), _7x7dbl_1=(0, mid, 1, 1, 1),
            _7x7dbl_2=(mid, mid, 7, 1, 1), _7x7dbl_3=(mid, mid, 1, 7, 1),
            _7x7dbl_4=(mid, mid, 7, 1, 1), _7x7dbl_5=(mid, 192, 1, 7, 1),
            __pool=(0, 192, 1, 1, 1),
        )  # fmt: skip

    def e(before: int, pool: nn.Module) -> Block:
        return block(
            before, pool, "1x1, 3x3_1 3x3_2a+3x3_2b, "
            "3x3dbl_1 3x3dbl_2 3x3dbl_3a+3x3dbl_3b, pool _pool",
            _1x1=(0, 320, 1, 1, 1), _3x3_1=(0, 384, 1, 1, 1), _3x3_2a=(384, 384, 1, 3, 1),
            _3x3_2b=(384, 384, 3, 1, 1), _3x3dbl_1=(0, 448, 1, 1, 1),
            _3x3dbl_2=(448, 384, 3, 3, 1), _3x3dbl_3a=(384, 384, 1, 3, 1),
            _3x3dbl_3b=(384, 384, 3, 1, 1), __pool=(0, 192, 1, 1, 1),
        )  # fmt: skip

    parts: dict[str, nn.Module] = {
        "Conv2d_1a_3x3": Layer(3, 32, (3, 3), 2),
        "Conv2d_2a_3x3": Layer(32, 32, (3, 3), same=False),
        "Conv2d_2b_3x3": Layer(32, 64, (3, 3)),
        "pool_1": halved,
        "Conv2d_3b_1x1": Layer(64, 80, (1, 1)),
        "Conv2d_4a_3x3": Layer(80, 192, (3, 3), same=False),
        "pool_2": halved,
        "Mixed_5b": a(192, 32),
        "Mixed_5c": a(256, 64),
        "Mixed_5d": a(288, 64),
        "Mixed_6a": block(
            288, halved, "3x3, 3x3dbl_1 3x3dbl_2 3x3dbl_3, pool", _3x3=(0, 384, 3, 3, 2),
            _3x3dbl_1=(0, 64, 1, 1, 1), _3x3dbl_2=(64, 96, 3, 3, 1), _3x3dbl_3=(96, 96, 3, 3, 2),
        ),
        "Mixed_6b": c(128),
        "Mixed_6c": c(160),
        "Mixed_6d": c(160),
        "Mixed_6e": c(192),
        "Mixed_7a": block(
            768, halved, "3x3_1 3x3_2, 7x7x3_1 7x7x3_2 7x7x3_3 7x7x3_4, pool",
            _3x3_1=(0, 192, 1, 1, 1), _3x3_2=(192, 320, 3, 3, 2), _7x7x3_1=(0, 192, 1, 1, 1),
            _7x7x3_2=(192, 192, 1, 7, 1), _7x7x3_3=(192, 192, 7, 1, 1),
            _7x7x3_4=(192, 192, 3, 3, 2),
        ),
        "Mixed_7b": e(1280, mean),
        "Mixed_7c": e(2048, largest),
        "pool_3": nn.AdaptiveAvgPool2d(1),
        "flat": nn.Flatten(),
    }  # fmt: skip
    network = nn.Sequential()
    for name, part in parts.items():
        network.add_module(name, part)
    return network
