"""The networks of a small text-to-image latent diffusion model."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from ldm_pipelines.training.tokenizer import UNKNOWN

WIDTH = 128  # of the text states
HEADS = 4


def build_text_encoder(tokenizer: Any, seed: int) -> Any:
    """A two-layer `transformers.CLIPTextModel` for the tokenizer's vocabulary."""
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(seed)
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="eager",
    )
    return CLIPTextModel(config)


@torch.no_grad()
def silence_unseen_tokens(text_encoder: Any, tokenizer: Any, meaningful: int) -> None:
    """Zero the embeddings that no caption trains, so that unknown words say nothing.

    Args:
        meaningful: the number of special tokens and whole words; later tokens are fragments.
    """
    table = text_encoder.get_input_embeddings().weight
    table[meaningful:] = 0
    table[tokenizer.convert_tokens_to_ids(UNKNOWN)] = 0


def build_unet(latent_channels: int, latent_side: int, seed: int) -> Any:
    """A two-level `diffusers.UNet2DConditionModel`.

    The text enters twice: its pooled states are added to the time embedding, which scales and
    shifts every residual block (Perez et al. 2018, arXiv:1709.07871), and the middle attends to
    them (Rombach et al. 2022, arXiv:2112.10752, section 3.3).
    """
    from diffusers import UNet2DConditionModel
    from diffusers.models.attention_processor import AttnProcessor

    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        sample_size=latent_side,
        in_channels=latent_channels,
        out_channels=latent_channels,
        block_out_channels=(128, 96),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=HEADS,
        norm_num_groups=8,
        resnet_time_scale_shift="scale_shift",
        addition_embed_type="text",
        addition_embed_type_num_heads=HEADS,
    )
    # The plain formula: on CPU the backward pass of the fused kernel is slower in bfloat16.
    unet.set_attn_processor(AttnProcessor())
    with torch.no_grad():
        unet.conv_out.weight.mul_(0.1 * math.sqrt(3))
    return unet


def parameters(module: nn.Module) -> int:
    """Number of weights."""
    return sum(p.numel() for p in module.parameters())
