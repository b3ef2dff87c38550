"""Weights kept in bfloat16 and computed with in float32: memory and time of a network's call.

The network is Stable Diffusion's UNet with a fifth of its channels and random weights, on latents
of 64x64. Peers: the same all in float32, all in bfloat16, and Diffusers' layerwise casting, which
widens the weights of a layer in place before it is called and narrows them again after.
"""

from __future__ import annotations

import copy
import statistics
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import nn

from ldm_core.model.stored_weight import stored
from machine import describe
from timing import seconds

RUNS, BATCH = 7, 2
CHANNELS = (64, 128, 256, 256)


def mebibytes(network: nn.Module) -> float:
    """What the network's weights take."""
    tensors = [getattr(weight, "stored", weight) for weight in network.parameters()]
    return sum(tensor.numel() * tensor.itemsize for tensor in tensors) / 2**20


def networks(
    channels: tuple[int, ...] = CHANNELS, device: str = "cpu"
) -> dict[str, tuple[Any, torch.dtype]]:
    """Each way to hold the same weights, with the type of what goes in."""
    torch.manual_seed(0)
    with torch.device(device):
        narrow = UNet2DConditionModel(
            sample_size=64,
            block_out_channels=channels,
            cross_attention_dim=768,
            attention_head_dim=8,
        )
    narrow.to(torch.bfloat16).eval().requires_grad_(False)
    casting = copy.deepcopy(narrow).float()  # what it does not cast must be wide already
    casting.enable_layerwise_casting(torch.bfloat16, torch.float32)
    return {
        "float32": (copy.deepcopy(narrow).float(), torch.float32),
        "bfloat16": (copy.deepcopy(narrow), torch.bfloat16),
        "kept in bfloat16, computing in float32": (
            stored(narrow, torch.float32),
            torch.float32,
        ),
        "Diffusers' layerwise casting": (casting, torch.float32),
    }


@torch.no_grad()
def main() -> None:
    print(describe("ldm-core", "diffusers", "torch"))
    x, text = torch.randn(BATCH, 4, 64, 64), torch.randn(BATCH, 77, 768)
    answers, runs, sizes = {}, {}, {}
    for name, (network, dtype) in networks().items():
        call = (x.to(dtype), 500, text.to(dtype))
        runs[name] = lambda n=network, c=call: n(*c).sample
        answers[name] = runs[name]().float()
        sizes[name] = mebibytes(network)
    rounds = [{name: seconds(run) for name, run in runs.items()} for _ in range(RUNS)]
    exact = answers["float32"]
    for name in runs:
        took = statistics.median(times[name] for times in rounds)
        ratio = statistics.median(times[name] / times["float32"] for times in rounds)
        error = float((answers[name] - exact).norm() / exact.norm())
        print(
            f"{name}: {sizes[name]:.0f} MiB, {took:.2f} s, {ratio:.2f} of float32's, "
            f"relative error {error:.1e}"
        )


if __name__ == "__main__":
    main()
