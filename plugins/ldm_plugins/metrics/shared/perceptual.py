"""The networks of the learned perceptual distance, and the distance (Zhang et al. 2018,
arXiv:1801.03924).

torchmetrics has it too, and takes its networks from torchvision alone, with weights that are
pickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ldm_plugins.metrics.shared.weights_file import fill, read_tensors
from ldm_plugins.shared.stamps import Stamps, stamps

if TYPE_CHECKING:
    from torch import Tensor, nn

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Of red, green and blue in [-1, 1], to what the networks were trained on."""
TAPS: Mapping[str, tuple[int, ...]] = {"alex": (1, 4, 7, 9, 11), "vgg": (3, 8, 15, 22, 29)}
"""Places of the layers whose outputs are compared."""
VGG = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512)
"""Channels of its convolutions; 0 halves the picture (Simonyan & Zisserman 2014, arXiv:1409.1556,
configuration D)."""
LINES = Path(__file__).parent / "lpips"
"""The paper's weights of channels, version 0.1, by network (BSD licence, see the files)."""


def read_network(file: Path, net: str) -> nn.Module:
    """The distance by the weights of a file: of pictures and references (batch, 3, height, width)
    in [-1, 1], (batch,).

    Raises:
        LdmError: the file cannot be read, or is of another network.
    """
    return _read(file, stamps(file), net)


@lru_cache(maxsize=4)
def _read(file: Path, read: Stamps, net: str) -> nn.Module:
    weights = read_tensors(file)
    if "lin0.model.1.weight" not in weights:
        weights |= read_tensors(LINES / f"{net}.safetensors")
    return fill(_perceptual(net), weights, f"the file {file}")


def _perceptual(net: str) -> nn.Module:
    """The network under torchvision's names, and torchmetrics' of the weights of channels."""
    import torch
    from torch import nn

    class Line(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            convolution = nn.Conv2d(channels, 1, 1, bias=False)
            self.model = nn.Sequential(nn.Identity(), convolution)  # a dropout in training

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.model(x)
            return out

    class Perceptual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features, channels = _alex() if net == "alex" else _vgg()
            self.lines = len(channels)
            for index, count in enumerate(channels):
                self.add_module(f"lin{index}", Line(count))

        def taps(self, x: Tensor) -> list[Tensor]:
            x, taps = (x - _row(SHIFT, x)) / _row(SCALE, x), []
            for place, layer in enumerate(self.features):
                x = layer(x)
                if place in TAPS[net]:
                    taps.append(x / (x.square().sum(1, keepdim=True) + 1e-8).sqrt())
            return taps

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            pairs = zip(self.taps(x), self.taps(y), strict=True)
            apart = [(a - b).square() for a, b in pairs]
            lines = [self.get_submodule(f"lin{index}") for index in range(self.lines)]
            total: Tensor = torch.stack(
                [line(one).mean((1, 2, 3)) for line, one in zip(lines, apart, strict=True)]
            ).sum(0)
            return total

    return Perceptual()


def _row(three: tuple[float, ...], like: Tensor) -> Tensor:
    return like.new_tensor(three)[None, :, None, None]


def _alex() -> tuple[nn.Sequential, tuple[int, ...]]:
    """AlexNet's convolutions (Krizhevsky 2014, arXiv:1404.5997)."""
    from torch import nn

    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
    ), (64, 192, 384, 256, 256)


def _vgg() -> tuple[nn.Sequential, tuple[int, ...]]:
    from torch import nn

    layers: list[nn.Module] = []
    before = 3
    for channels in VGG:
        if channels:
            layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU()]
            before = channels
        else:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers), (64, 128, 256, 512, 512)
