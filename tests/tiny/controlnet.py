"""Tiny ControlNets and T2I-Adapters for the tiny folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def write_controlnet(
    folder: Path, model: Path, seed: int = 1, cls: str = "ControlNetModel", **config: Any
) -> Path:
    """A ControlNet for a folder with a UNet2DConditionModel, of an autoencoder that halves sides.

    Its outer layers, zero before training, are random too, so that it tells something.

    Args:
        cls: of it: ``ControlNetUnionModel`` is one for six kinds of pictures.
        config: what it should be otherwise, such as ``cross_attention_dim=64``.
    """
    import diffusers
    import torch
    from diffusers import UNet2DConditionModel

    torch.manual_seed(seed)
    unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(model / "unet"))
    embedding = {"conditioning_embedding_out_channels": (8, 16)}
    made = getattr(diffusers, cls)
    if cls == "ControlNetUnionModel":
        config = {"num_trans_channel": 16, "num_trans_head": 2, "num_proj_channel": 16, **config}
    if config:
        known = dict(made.from_unet(unet, **embedding).config)
        known.pop("_use_default_values", None)  # else what stands there is taken from the defaults
        net = made.from_config({**known, **config})
    else:
        net = made.from_unet(unet, load_weights_from_unet=False, **embedding)
    for parameter in net.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    net.save_pretrained(folder)
    return folder


def write_t2i_adapter(folder: Path, seed: int = 2, **config: Any) -> Path:
    """A T2I-Adapter for the tiny Stable Diffusion folder."""
    import torch
    from diffusers import T2IAdapter

    torch.manual_seed(seed)
    shape = {"channels": [16, 32], "num_res_blocks": 1, "downscale_factor": 2}
    T2IAdapter(**{**shape, **config}).save_pretrained(folder)
    return folder


def write_transformer_controlnet(folder: Path, model: Path, seed: int = 1, **config: Any) -> Path:
    """A ControlNet of one block for a Stable Diffusion 3 or Flux folder, whose outer layers are
    random too.

    Args:
        config: what it should be otherwise.
    """
    import inspect
    import json

    import diffusers
    import torch

    torch.manual_seed(seed)
    network = json.loads((model / "transformer" / "config.json").read_text())
    name = {
        "SD3Transformer2DModel": "SD3ControlNetModel",
        "FluxTransformer2DModel": "FluxControlNetModel",
    }[network["_class_name"]]
    own = {**network, "num_layers": 1, "guidance_embeds": False, **config}
    cls = getattr(diffusers, name)
    net = cls(**{key: own[key] for key in inspect.signature(cls).parameters if key in own})
    for parameter in net.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    net.save_pretrained(folder)
    return folder
