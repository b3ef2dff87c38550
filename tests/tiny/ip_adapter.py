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
    """An IP-Adapter for a folder with a UNet, in its authors' layout.

    Args:
        plus: one that reads the encoder's states, by a resampler.
    """
    import diffusers
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    config = diffusers.UNet2DConditionModel.load_config(model / "unet")
    unet = getattr(diffusers, config["_class_name"]).from_config(config)
    text = unet.config.cross_attention_dim
    tensors = {}
    number = 1
    for name in unet.attn_processors:
        if "attn2" in name and "motion_modules" not in name:
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


@kept
def write_siglip_encoder(folder: Path) -> Path:
    """A SigLIP image encoder of 16x16 pictures, whose states have `STATES`."""
    import torch
    from transformers import SiglipImageProcessorPil, SiglipVisionConfig, SiglipVisionModel

    torch.manual_seed(5)
    config = SiglipVisionConfig(
        hidden_size=STATES,
        intermediate_size=37,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=16,
        patch_size=8,
    )
    SiglipVisionModel(config).save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


def write_flux_ip_adapter(file: Path, model: Path, seed: int = 4, xlabs: bool = False) -> Path:
    """An IP-Adapter for a folder of Flux or Chroma.

    Args:
        xlabs: by its authors' names, and otherwise by Diffusers'.
    """
    import json

    import torch
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    config = json.loads((model / "transformer" / "config.json").read_text())
    inner = config["num_attention_heads"] * config["attention_head_dim"]
    text = config["joint_attention_dim"]
    tensors = {}
    for number in range(config["num_layers"]):
        for part in ("k", "v"):
            name = f"ip_adapter.{number}.to_{part}_ip"
            if xlabs:
                name = f"double_blocks.{number}.processor.ip_adapter_double_stream_{part}_proj"
            tensors[f"{name}.weight"] = torch.randn(inner, text) / 4
            tensors[f"{name}.bias"] = torch.randn(inner) / 4
    start = "ip_adapter_proj_model" if xlabs else "image_proj"
    tensors |= {f"{start}.{name}": value for name, value in _projection(text).items()}
    save_file(tensors, file)
    return file


def write_sd3_ip_adapter(file: Path, model: Path) -> Path:
    """An IP-Adapter for a Stable Diffusion 3 folder, in its authors' layout."""
    import json

    import torch
    from safetensors.torch import save_file

    torch.manual_seed(6)
    config = json.loads((model / "transformer" / "config.json").read_text())
    head = config["attention_head_dim"]
    inner, width = config["num_attention_heads"] * head, 64
    shapes: dict[str, tuple[int, ...]] = {}
    for number in range(config["num_layers"]):
        shapes |= {
            f"ip_adapter.{number}.norm_ip.linear.weight": (2 * inner, width),
            f"ip_adapter.{number}.norm_ip.linear.bias": (2 * inner,),
            f"ip_adapter.{number}.to_k_ip.weight": (inner, inner),
            f"ip_adapter.{number}.to_v_ip.weight": (inner, inner),
            f"ip_adapter.{number}.norm_q.weight": (head,),
            f"ip_adapter.{number}.norm_k.weight": (head,),
            f"ip_adapter.{number}.norm_ip_k.weight": (head,),
        }
    shapes |= {
        "image_proj.time_embedding.linear_1.weight": (width, 32),
        "image_proj.time_embedding.linear_1.bias": (width,),
        "image_proj.time_embedding.linear_2.weight": (width, width),
        "image_proj.time_embedding.linear_2.bias": (width,),
    }
    for number in range(4):
        shapes |= {
            f"image_proj.layers.{number}.2.1.weight": (4 * width, width),
            f"image_proj.layers.{number}.2.1.bias": (4 * width,),
        }
    tensors = {name: torch.randn(*shape) / 4 for name, shape in shapes.items()}
    tensors |= {f"image_proj.{name}": value for name, value in _resampler(inner).items()}
    save_file({name: value.contiguous() for name, value in tensors.items()}, file)
    return file
