"""The cross-attention layers of a UNet, by its config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def cross_attentions(unet: Mapping[str, Any]) -> list[tuple[int, ...]]:
    """The (width, width of the text) of a network's cross-attention layers, in Diffusers' order:
    encoder, decoder, then between them.

    Args:
        unet: the config of a UNet2DConditionModel.
    """
    widths = list(unet.get("block_out_channels", [320, 640, 1280, 1280]))
    count, text = len(widths), unet.get("cross_attention_dim", 1280)
    down = unet.get("down_block_types") or [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"]
    up = unet.get("up_block_types") or ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3]
    resnets = _each(unet.get("layers_per_block", 2), count)
    deep = _each(unet.get("transformer_layers_per_block", 1), count)
    back = unet.get("reverse_transformer_layers_per_block") or deep[::-1]
    layer_widths: list[int] = []
    for cls, width, several, depth in zip(down, widths, resnets, deep, strict=True):
        layer_widths += [width] * (_sum(depth, several) if "CrossAttn" in cls else 0)
    for cls, width, several, depth in zip(up, widths[::-1], resnets[::-1], back, strict=True):
        layer_widths += [width] * (_sum(depth, several + 1) if "CrossAttn" in cls else 0)
    if "CrossAttn" in (unet.get("mid_block_type", "UNetMidBlock2DCrossAttn") or ""):
        layer_widths += [widths[-1]] * _sum(deep[-1], 1)
    return [(width, text) for width in layer_widths]


def _each(value: Any, count: int) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value] * count


def _sum(depth: Any, several: int) -> int:
    """Transformer layers in so many of a block's transformers, or as a list says of each."""
    return sum(depth[:several]) if isinstance(depth, list | tuple) else depth * several
