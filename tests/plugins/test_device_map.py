"""A network spread over several devices: the fullest holds as little as its blocks allow."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest
import torch
from torch import nn

from ldm_core import LdmError
from ldm_plugins.converters.device_map import split

SD15: dict[str, Any] = {"sample_size": 64, "cross_attention_dim": 768}
SDXL: dict[str, Any] = {
    "sample_size": 128,
    "cross_attention_dim": 2048,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
STAY_WHOLE = ("BasicTransformerBlock", "ResnetBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")


@pytest.fixture(scope="module", params=["SD 1.5", "SDXL", "DiT-XL/2"])
def network(request: pytest.FixtureRequest) -> Any:
    """Of the true size, without numbers."""
    import diffusers

    logging.getLogger("accelerate").setLevel(logging.ERROR)
    with torch.device("meta"):
        if request.param == "DiT-XL/2":
            return diffusers.DiTTransformer2DModel()
        return diffusers.UNet2DConditionModel(**(SD15 if request.param == "SD 1.5" else SDXL))


def pieces(module: nn.Module) -> Iterator[int]:
    """The weights of what stays whole, in order."""
    children = [*module.children()]
    if not children or type(module).__name__ in STAY_WHOLE:
        yield sum(weight.numel() for weight in module.parameters())
    else:
        yield sum(weight.numel() for weight in module.parameters(recurse=False))
        for child in children:
            yield from pieces(child)


def shares(network: nn.Module, spread: dict[str, int], count: int) -> list[int]:
    """The weights on each device."""
    held = [0] * count
    for name, weight in network.named_parameters():
        (device,) = (on for block, on in spread.items() if f"{name}.".startswith(f"{block}."))
        held[device] += weight.numel()
    return held


@pytest.mark.parametrize("count", [2, 3])
def test_the_fullest_device_holds_as_little_as_blocks_allow(network: Any, count: int) -> None:
    sizes = [*filter(None, pieces(network))]
    total = sum(sizes)
    assert total == sum(weight.numel() for weight in network.parameters())
    ends = [0]
    for size in sizes:
        ends.append(ends[-1] + size)
    cuts = combinations(ends[1:-1], count - 1)
    least = min(max(b - a for a, b in zip((0, *cut), (*cut, total), strict=True)) for cut in cuts)
    held = shares(network, split(network, count), count)
    assert min(held) > 0
    assert least <= max(held) < least + total / 100


def test_devices_that_would_hold_nothing_are_refused(network: Any) -> None:
    blocks = network._no_split_modules
    if blocks is None:
        assert min(shares(network, split(network, 8), 8)) > 0
        return
    with pytest.raises(LdmError, match=r"over 8 devices: by the blocks .* it fills [34]\.") as told:
        split(network, 8)
    assert "of them by 'devices'" in str(told.value)
