"""Tiny folders of Stable Cascade's two stages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tiny.folder import write_configs
from tiny.text_encoders import write_clip

HIDDEN, PROJECTION, EMBEDDINGS, PICTURE = 32, 24, 6, 20
SCHEDULER = {"_class_name": "DDPMWuerstchenScheduler", "scaler": 1, "s": 0.008}
TEXT = {
    "text_encoder": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
}
BLOCKS = ("SDCascadeResBlock", "SDCascadeTimestepBlock")
NETWORK: dict[str, Any] = {
    "timestep_ratio_embedding_dim": 16,
    "conditioning_dim": 16,
    "block_out_channels": (16, 32),
    "num_attention_heads": (-1, 2),
    "down_num_layers_per_block": (1, 1),
    "up_num_layers_per_block": (1, 1),
    "down_blocks_repeat_mappers": (1, 1),
    "up_blocks_repeat_mappers": (2, 1),
    "block_types_per_layer": (BLOCKS, (*BLOCKS, "SDCascadeAttnBlock")),
    "clip_text_pooled_in_channels": PROJECTION,
    "clip_seq": 2,
}


def write_stable_cascade(folder: Path, **network: Any) -> Path:
    """The second stage: latents of 4 channels and a quarter of a picture's sides, beside
    embeddings of 6 channels and half of the latents'; 192x192 pictures."""
    import torch
    from diffusers import StableCascadeUNet
    from diffusers.pipelines.deprecated.wuerstchen import PaellaVQModel

    torch.manual_seed(0)
    own = {
        "in_channels": 4,
        "out_channels": 4,
        "patch_size": 2,
        "effnet_in_channels": EMBEDDINGS,
        "pixel_mapper_in_channels": 3,
        "timestep_conditioning_type": ("sca",),
    }
    _save(StableCascadeUNet(**{**NETWORK, **own, **network}), folder / "decoder")
    _save(PaellaVQModel(bottleneck_blocks=1, embed_dim=16, num_vq_embeddings=8), folder / "vqgan")
    return _finish(
        folder,
        "StableCascadeDecoderPipeline",
        decoder=["diffusers", "StableCascadeUNet"],
        vqgan=["wuerstchen", "PaellaVQModel"],
        latent_dim_scale=2.0,
    )


def write_cascade_prior(folder: Path, **network: Any) -> Path:
    """The first stage, which draws embeddings of the same text encoder's states."""
    import torch
    from diffusers import StableCascadeUNet

    torch.manual_seed(1)
    own = {
        "in_channels": EMBEDDINGS,
        "out_channels": EMBEDDINGS,
        "clip_text_in_channels": HIDDEN,
        "clip_image_in_channels": PICTURE,
        "switch_level": (False,),
    }
    _save(StableCascadeUNet(**{**NETWORK, **own, **network}), folder / "prior")
    return _finish(
        folder,
        "StableCascadePriorPipeline",
        prior=["diffusers", "StableCascadeUNet"],
        image_encoder=[None, None],
        feature_extractor=[None, None],
        resolution_multiple=8.0,
    )


def _save(module: Any, folder: Path) -> None:
    """With numbers where a class puts zeros, which hide what they stand before."""
    import torch

    for parameter in module.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    module.save_pretrained(folder)


def _finish(folder: Path, pipeline: str, **index: Any) -> Path:
    import torch

    torch.manual_seed(2)
    write_clip(folder, "text_encoder", "tokenizer", HIDDEN, PROJECTION)
    write_configs(folder, pipeline, SCHEDULER, {**TEXT, **index})
    return folder


def write_embeddings(file: Path, height: int, width: int) -> Path:
    """Embeddings of a picture of this size."""
    import torch
    from safetensors.torch import save_file

    noise = torch.Generator().manual_seed(5)
    shape = (EMBEDDINGS, height // 8, width // 8)
    save_file({"embeddings": torch.randn(shape, generator=noise)}, file)
    return file


def edit(file: Path, **changes: Any) -> None:
    """Change a JSON file."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
