"""Tiny IP-Adapters and their image encoders."""

from __future__ import annotations

from pathlib import Path

from tiny.kept import kept

WIDTH = 24
"""Of the encoder's projected vectors; its states have `STATES`."""
STATES = 32


@kept
def write_image_encoder(folder: Path) -> Path:
    """A CLIP image encoder of 16x16 pictures."""
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(3)
    config = CLIPVisionConfig(
        hidden_size=STATES,
        intermediate_size=37,
        projection_dim=WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=16,
        patch_size=8,
    )
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    return folder


def write_ip_adapter(file: Path, model: Path, plus: bool = False, seed: int = 4) -> Path:
    """An IP-Adapter for a folder with a UNet2DConditionModel, in its authors' layout.

    Args:
        plus: one that reads the encoder's states, by a resampler.
    """
    import torch
    from diffusers import UNet2DConditionModel
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(model / "unet"))
    text = unet.config.cross_attention_dim
    tensors = {}
    number = 1
    for name in unet.attn_processors:
        if "attn2" in name:
            width = unet.get_submodule(name.removesuffix(".processor")).to_k.weight.shape[0]
            for part in ("k", "v"):
                tensors[f"ip_adapter.{number}.to_{part}_ip.weight"] = torch.randn(width, text) / 4
            number += 2
    projection = _resampler(text) if plus else _projection(text)
    tensors |= {f"image_proj.{name}": value for name, value in projection.items()}
    save_file(tensors, file)
    return file


def _projection(text: int) -> dict[str, object]:
    import torch

    return {
        "proj.weight": torch.randn(4 * text, WIDTH) / 4,
        "proj.bias": torch.randn(4 * text),
        "norm.weight": torch.ones(text),
        "norm.bias": torch.zeros(text),
    }


def _resampler(text: int) -> dict[str, object]:
    import torch

    width, heads = 64, 64
    shapes = {
        "latents": (1, 5, width),
        "proj_in.weight": (width, STATES),
        "proj_in.bias": (width,),
        "proj_out.weight": (text, width),
        "proj_out.bias": (text,),
        "norm_out.weight": (text,),
        "norm_out.bias": (text,),
    }
    for layer in range(4):
        shapes |= {
            f"layers.{layer}.0.norm1.weight": (width,),
            f"layers.{layer}.0.norm1.bias": (width,),
            f"layers.{layer}.0.norm2.weight": (width,),
            f"layers.{layer}.0.norm2.bias": (width,),
            f"layers.{layer}.0.to_q.weight": (heads, width),
            f"layers.{layer}.0.to_kv.weight": (2 * heads, width),
            f"layers.{layer}.0.to_out.weight": (width, heads),
            f"layers.{layer}.1.0.weight": (width,),
            f"layers.{layer}.1.0.bias": (width,),
            f"layers.{layer}.1.1.weight": (4 * width, width),
            f"layers.{layer}.1.3.weight": (width, 4 * width),
        }
    return {name: torch.randn(*shape) / 4 for name, shape in shapes.items()}
