"""Tiny folders of unCLIP and Stable unCLIP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tiny.stable_diffusion import write_stable_diffusion
from tiny.text_encoders import write_clip
from tiny.tokenizers import WINDOW

WIDTH, STATES = 32, 20
SCHEDULER: dict[str, Any] = {
    "_class_name": "UnCLIPScheduler",
    "num_train_timesteps": 1000,
    "clip_sample": True,
    "clip_sample_range": 1.0,
    "beta_schedule": "squaredcos_cap_v2",
    "variance_type": "fixed_small_log",
    "prediction_type": "epsilon",
}
SCHEDULERS: dict[str, dict[str, Any]] = {
    "prior_scheduler": {"prediction_type": "sample", "clip_sample_range": 5.0},
    "decoder_scheduler": {"variance_type": "learned_range"},
    "super_res_scheduler": {},
}
TEXT = "CLIPTextModelWithProjection"


def write_unclip(folder: Path, variation: bool = False) -> Path:
    """Pictures of 32x32 pixels, drawn in 16x16; vectors of 32 numbers.

    Args:
        variation: it sees a picture in place of drawing what CLIP sees in one.
    """
    import torch
    from diffusers import PriorTransformer, UNet2DConditionModel, UNet2DModel
    from diffusers.pipelines.deprecated.unclip import UnCLIPTextProjModel

    torch.manual_seed(0)
    _save(
        UNet2DConditionModel(
            sample_size=16,
            in_channels=3,
            out_channels=6,
            down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
            up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
            mid_block_type="UNetMidBlock2DSimpleCrossAttn",
            block_out_channels=(8, 16),
            norm_num_groups=4,
            layers_per_block=1,
            cross_attention_dim=STATES,
            attention_head_dim=4,
            resnet_time_scale_shift="scale_shift",
            class_embed_type="identity",
        ),
        folder / "decoder",
    )
    for name in ("super_res_first", "super_res_last"):
        _save(
            UNet2DModel(
                sample_size=32,
                in_channels=6,
                out_channels=3,
                down_block_types=("ResnetDownsampleBlock2D",) * 2,
                up_block_types=("ResnetUpsampleBlock2D",) * 2,
                block_out_channels=(8, 16),
                norm_num_groups=4,
                attention_head_dim=4,
                layers_per_block=1,
            ),
            folder / name,
        )
    _save(
        UnCLIPTextProjModel(
            clip_embeddings_dim=WIDTH, time_embed_dim=32, cross_attention_dim=STATES
        ),
        folder / "text_proj",
    )
    write_clip(folder, "text_encoder", "tokenizer", WIDTH, WIDTH)
    index: dict[str, Any] = {
        "decoder": ["diffusers", "UNet2DConditionModel"],
        "super_res_first": ["diffusers", "UNet2DModel"],
        "super_res_last": ["diffusers", "UNet2DModel"],
        "text_proj": ["unclip", "UnCLIPTextProjModel"],
        "text_encoder": ["transformers", TEXT],
        "tokenizer": ["transformers", "CLIPTokenizer"],
    }
    schedulers = dict(SCHEDULERS)
    if variation:
        del schedulers["prior_scheduler"]
        index |= _write_eyes(folder)
    else:
        prior = PriorTransformer(
            num_attention_heads=2,
            attention_head_dim=12,
            embedding_dim=WIDTH,
            num_embeddings=WINDOW,
            num_layers=1,
        )
        _save(prior, folder / "prior")
        index["prior"] = ["diffusers", "PriorTransformer"]
    for name, said in schedulers.items():
        _write(folder / name / "scheduler_config.json", {**SCHEDULER, **said})
        index[name] = ["diffusers", "UnCLIPScheduler"]
    pipeline = "UnCLIPImageVariationPipeline" if variation else "UnCLIPPipeline"
    _write(folder / "model_index.json", {"_class_name": pipeline, **index})
    return folder


def write_stable_unclip(folder: Path, prior: bool = False) -> Path:
    """Stable Diffusion that is told what CLIP sees in a picture, as a vector of 32 numbers.

    Args:
        prior: it draws that of a text.
    """
    import torch
    from diffusers import PriorTransformer
    from diffusers.pipelines.stable_diffusion import StableUnCLIPImageNormalizer

    write_stable_diffusion(
        folder,
        pipeline="StableUnCLIPPipeline" if prior else "StableUnCLIPImg2ImgPipeline",
        class_embed_type="projection",
        projection_class_embeddings_input_dim=2 * WIDTH,
    )
    _save(StableUnCLIPImageNormalizer(embedding_dim=WIDTH), folder / "image_normalizer")
    noising = {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": 1000,
        "beta_schedule": "squaredcos_cap_v2",
    }
    _write(folder / "image_noising_scheduler" / "scheduler_config.json", noising)
    index = json.loads((folder / "model_index.json").read_text())
    if prior:
        torch.manual_seed(0)
        network = PriorTransformer(
            num_attention_heads=2,
            attention_head_dim=12,
            embedding_dim=WIDTH,
            num_embeddings=WINDOW,
            num_layers=1,
        )
        _save(network, folder / "prior")
        write_clip(folder, "prior_text_encoder", "prior_tokenizer", WIDTH, WIDTH)
        said = {**SCHEDULER, **SCHEDULERS["prior_scheduler"], "_class_name": "DDPMScheduler"}
        _write(folder / "prior_scheduler" / "scheduler_config.json", said)
        own = {
            "prior": ["diffusers", "PriorTransformer"],
            "prior_text_encoder": ["transformers", TEXT],
            "prior_tokenizer": ["transformers", "CLIPTokenizer"],
            "prior_scheduler": ["diffusers", "DDPMScheduler"],
        }
    else:
        own = _write_eyes(folder)
    more = {
        **own,
        "image_normalizer": ["stable_diffusion", "StableUnCLIPImageNormalizer"],
        "image_noising_scheduler": ["diffusers", "DDPMScheduler"],
    }
    _write(folder / "model_index.json", {**index, **more})
    return folder


def _write_eyes(folder: Path) -> dict[str, Any]:
    """An image encoder of 16x16 pixels; its entries in the index."""
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=16,
        patch_size=8,
        projection_dim=WIDTH,
    )
    CLIPVisionModelWithProjection(config).save_pretrained(folder / "image_encoder")
    CLIPImageProcessor(size=16, crop_size=16).save_pretrained(folder / "feature_extractor")
    return {
        "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
    }


def _save(module: Any, folder: Path) -> None:
    """With numbers where a class puts zeros, which hide what they stand before."""
    import torch

    for parameter in module.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    module.save_pretrained(folder)


def _write(file: Path, table: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(table))
