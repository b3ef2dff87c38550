"""What attention and tiles take of memory at 2048 pixels, on shapes alone.

A meter of this file's own counts the bytes of every storage for as long as something holds it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import cache
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ldm_core.contracts import Part
from ldm_core.run.attention import in_force
from ldm_plugins.attention.chunked import chunked
from ldm_plugins.converters.vae_tiling import vae_tiling

SDXL = {
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    # less often than in SDXL, twice, and 1, 2 and 10 layers: they need the same, one after another
    "layers_per_block": 1,
    "transformer_layers_per_block": 1,
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
    "use_linear_projection": True,
}
ROWS, SIDE = 2, 2048 // 8


class Meter(TorchDispatchMode):
    """Counts bytes that are held, beside those that were there before."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._hold(tensor)
        return result

    def _hold(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self.now += size
        self.peak = max(self.peak, self.now)

        def let_go(_: Any) -> None:
            self.now -= size
            del self._known[key]

        self._known[key] = weakref.ref(storage, let_go)


class Flash(TorchFunctionMode):
    """Torch's attention as its fused kernel takes memory: the result, and a number a row."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not torch.nn.functional.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        q, v = args[0], args[2]
        sums = q.new_empty(q.shape[:-1], dtype=torch.float32)
        out = q.new_empty((*q.shape[:-1], v.shape[-1]))
        del sums
        return out


def formula(q: Any, k: Any, v: Any, mask: Any, scale: float) -> Any:
    return ((q @ k.transpose(-1, -2)) * scale).softmax(-1) @ v


def peak(run: Callable[[], Any]) -> int:
    with torch.no_grad(), Meter() as meter:
        run()
    return meter.peak


def test_the_meter_counts_what_is_held() -> None:
    def run() -> Tensor:
        a = torch.empty(1024, device="meta")
        b = a + 1
        del a
        return b[:512] + 1  # beside b, of which it is a view: 4 KiB and 2 KiB

    assert peak(run) == 2 * 4096


@cache
def network() -> Any:
    with torch.device("meta"):
        unet = diffusers.UNet2DConditionModel(**SDXL)
    return unet.half().eval().requires_grad_(False)


def in_network(kernel: Any) -> int:
    def empty(*shape: int) -> Tensor:
        return torch.empty(shape, device="meta", dtype=torch.float16)

    def run() -> None:
        added = {"text_embeds": empty(ROWS, 1280), "time_ids": empty(ROWS, 6)}
        x, text = empty(ROWS, 4, SIDE, SIDE), empty(ROWS, 77, 2048)
        network()(x, empty(ROWS), text, added_cond_kwargs=added)

    with Flash():
        if kernel is None:
            return peak(run)
        with in_force(kernel):
            return peak(run)


def test_chunked_takes_what_flash_does_in_an_sdxl_network_at_2048_pixels() -> None:
    flash, ours, whole = in_network(None), in_network(chunked), in_network(formula)
    assert ours <= 1.3 * flash
    assert ours <= whole / 8


@cache
def autoencoder(trained: int) -> Any:
    """Stable Diffusion's, whose configurations say 512 pixels, and 1024 in SDXL."""
    with torch.device("meta"):
        vae = diffusers.AutoencoderKL(
            down_block_types=["DownEncoderBlock2D"] * 4,
            up_block_types=["UpDecoderBlock2D"] * 4,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=1,  # and not 2: one after another
            sample_size=trained,
        )
    return vae.half().eval().requires_grad_(False)


@pytest.mark.parametrize("trained", [pytest.param(512, marks=pytest.mark.slow), 1024])
def test_tiles_decode_2048_pixels_in_a_quarter_of_the_memory(trained: int) -> None:
    """As the converter makes them where nothing is said."""
    plain = Part(autoencoder(trained), "autoencoder", torch.device("meta"), torch.float16)
    tiled = vae_tiling().part(plain)
    z = torch.empty(1, 4, SIDE, SIDE, device="meta", dtype=torch.float16)
    with Flash():
        whole = peak(lambda: plain.module.decode(z))
        assert 0 < peak(lambda: tiled.module.decode(z)) <= whole / 4
