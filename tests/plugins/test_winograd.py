"""Convolutions by Winograd's algorithm in OpenVINO's programs, against torch's in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ldm_plugins.converters.shared import winograd
from ldm_plugins.converters.shared.graphs import Arguments, converted
from ldm_plugins.converters.shared.programs import Programs
from peers import apart

pytest.importorskip("openvino")

ROUNDING = 3e-6


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def kernels(module: nn.Module, x: torch.Tensor) -> list[list[int]]:
    """Heights and widths of the convolutions' kernels in a module's arranged graph."""
    model: Any = converted(module, Arguments.of((x,), {})).read()
    model.reshape([*x.shape])
    winograd.arrange(model)
    return [
        [*node.input_value(1).get_shape()][-2:]
        for node in model.get_ordered_ops()
        if node.get_type_name() in ("Convolution", "GroupConvolution")
    ]


@pytest.mark.parametrize(
    "shape", [(4, 64, 16, 16), (1, 96, 33, 32), (3, 64, 22, 17), (5, 80, 7, 41), (40, 64, 3, 9)]
)
def test_it_gives_what_torch_gives(shape: tuple[int, ...], tmp_path: Path) -> None:
    """Whatever the height leaves over four, the width and the rows, filters more than channels."""
    torch.manual_seed(1)
    layers = nn.Sequential(
        nn.Conv2d(shape[1], 112, 3, padding=1), nn.SiLU(), nn.Conv2d(112, 64, 3, padding=1)
    ).requires_grad_(False)
    x = drawn(*shape)
    assert kernels(layers, x) == [[1, 3]] * 12
    exact = layers.double()(x.double())
    assert apart(Programs(layers.float(), "float32", tmp_path)(x).double(), exact) < ROUNDING


def test_what_cancels_in_torch_cancels(tmp_path: Path) -> None:
    """Kernels whose numbers sum to zero, over places that are all far from it: what is rounded is
    no larger than a few times what a convolution rounds."""
    torch.manual_seed(2)
    layer = nn.Conv2d(64, 64, 3, padding=1, bias=False).requires_grad_(False)
    layer.weight -= layer.weight.mean((2, 3), keepdim=True)
    x = drawn(4, 64, 16, 16) + 1000
    inside = (..., slice(1, -1), slice(1, -1))
    exact = layer.double()(x.double())[inside]
    own = apart(layer.float()(x).double()[inside], exact)
    assert apart(Programs(layer, "float32", tmp_path)(x).double()[inside], exact) < 8 * own


def test_one_network_at_two_sizes(tmp_path: Path) -> None:
    """The graph that is kept knows no size, though programs of it do."""
    torch.manual_seed(3)
    layer = nn.Conv2d(64, 64, 3, padding=1).requires_grad_(False)
    program = Programs(layer, "float32", tmp_path)
    for rows, seed in ((4, 1), (7, 2), (1, 3), (4, 4)):
        x = drawn(rows, 64, 16, 16, seed=seed)
        assert apart(program(x), layer(x)) < ROUNDING


OTHERS = {
    "steps of two": (nn.Conv2d(64, 64, 3, padding=1, stride=2), 16),
    "places apart": (nn.Conv2d(64, 64, 3, padding=2, dilation=2), 16),
    "no border": (nn.Conv2d(64, 64, 3), 16),
    "a border of two": (nn.Conv2d(64, 64, 3, padding=2), 16),
    "one place": (nn.Conv2d(64, 64, 1), 16),
    "in groups": (nn.Conv2d(64, 64, 3, padding=1, groups=2), 16),
    "few channels": (nn.Conv2d(4, 64, 3, padding=1), 16),
    "few places": (nn.Conv2d(64, 64, 3, padding=1), 8),
    "kernels too large for their places": (nn.Conv2d(512, 512, 3, padding=1), 16),
    "high for its channels": (nn.Conv2d(64, 64, 3, padding=1), 48),
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_convolutions_stay_as_they_are(case: str) -> None:
    layer, size = OTHERS[case]
    x = drawn(4, layer.in_channels, size, size)
    assert kernels(layer, x) == [[*layer.kernel_size]]
