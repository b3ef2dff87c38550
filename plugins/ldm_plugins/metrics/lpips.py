"""Learned perceptual distance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ldm_core.contracts import Metric
from ldm_plugins.metrics.shared.perceptual import read_network
from ldm_plugins.metrics.shared.weights_file import weights_file

if TYPE_CHECKING:
    from torch import Tensor


def lpips(*, weights: str, net: Literal["alex", "vgg"] = "alex") -> Metric:
    """Learned perceptual image patch similarity.

    The distance of the features of a network, weighted by channels (Zhang et al. 2018,
    arXiv:1801.03924, Eq. 1); the mean over pictures.

    Args:
        weights: Of the network, in a safetensors file under torchvision's names
            (``features.0.weight``): the file, its folder, or an id of the Hub. The paper's weights
            of channels come with ldm, or may be in the file (``lin0.model.1.weight``).
        net: Which network: AlexNet, or VGG of 16 layers.
    """
    file = weights_file(weights, f"weights of {net}")

    def distance(pictures: Tensor, references: Tensor) -> Tensor:
        network = read_network(Path(file), net).to(pictures.device)
        rows: Tensor = network(pictures * 2 - 1, references * 2 - 1)
        return rows

    return Metric(
        distance,
        "pairs",
        higher_is_better=False,
        best=0.0,
        lowest=0.0,
        label=f"lpips[{net} of {weights}]",
    )
