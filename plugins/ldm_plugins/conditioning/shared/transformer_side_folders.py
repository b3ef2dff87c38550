"""Folders of ControlNets for transformers: seen to fit a network before they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ldm_core.contracts.family import ModelInfo
from ldm_plugins.shared.side_networks import FLUX, MASK, SD3, masked_channels

NETWORKS = {SD3: "SD3Transformer2DModel", FLUX: "FluxTransformer2DModel"}
"""The network that each class of ControlNet stands beside."""
HEADS = {SD3: (18, 64), FLUX: (24, 128)}
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    SD3: {
        "in_channels": 16,
        "patch_size": 2,
        "joint_attention_dim": 4096,
        "pooled_projection_dim": 2048,
    },
    FLUX: {"in_channels": 64, "joint_attention_dim": 4096, "pooled_projection_dim": 768},
}
"""What a ControlNet must have in common with its network, as Diffusers takes it to be."""
HINT_STRIDE = 8


def misfits_of(
    cls: str, config: Mapping[str, Any], network: Mapping[str, Any], info: ModelInfo
) -> tuple[list[str], int]:
    """In what a ControlNet does not fit, and the unit of its pictures' sides.

    Args:
        config, network: of the ControlNet and of the model's network.
    """
    misfits = []
    for key, default in DEFAULTS[cls].items():
        theirs, ours = config.get(key, default), network.get(key, default)
        if theirs is None and key == "joint_attention_dim":  # it reads no text
            continue
        if theirs != ours:
            misfits.append(f"its {key} is {theirs} and the network's {ours}")
    theirs, ours = _width(cls, config), _width(cls, network)
    if theirs != ours:
        misfits.append(f"its blocks are {theirs} wide and the network's {ours}")
    if cls == SD3 and (extra := masked_channels(config)) not in (0, MASK):
        misfits.append(f"it reads {extra} channels beside the picture's latents, and a mask is one")
    stride = info.latents.axis("height").stride
    if config.get("conditioning_embedding_channels") and stride != HINT_STRIDE:
        misfits.append(f"it shrinks its picture by {HINT_STRIDE} and the autoencoder by {stride}")
    return misfits, stride


def _width(cls: str, config: Mapping[str, Any]) -> int:
    heads, head = HEADS[cls]
    count: int = config.get("num_attention_heads", heads)
    return count * int(config.get("attention_head_dim", head))
