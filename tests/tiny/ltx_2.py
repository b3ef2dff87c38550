"""Tiny LTX-2 folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny.folder import write_configs
from tiny.ltx_video import SHIFT

TEXT = 16  # width of Gemma's states
LAYERS = 2  # of Gemma
MEL = 8  # bins of the spectrogram


def write_ltx_2(folder: Path, pipeline: str = "LTX2Pipeline", **network: Any) -> Path:
    """An LTX-2 folder: latents of 4 channels, a place for 8x8 pixels and 2 frames, and beside them
    2 channels of 2 bins for each 25th of a second of sound.

    Args:
        network: over the network's config.
    """
    import torch
    from diffusers import (
        AutoencoderKLLTX2Audio,
        AutoencoderKLLTX2Video,
        LTX2VideoTransformer3DModel,
    )
    from diffusers.pipelines.ltx2 import LTX2TextConnectors, LTX2Vocoder

    torch.manual_seed(0)
    config: dict[str, Any] = {
        "in_channels": 4,
        "out_channels": 4,
        "num_attention_heads": 2,
        "attention_head_dim": 8,
        "cross_attention_dim": 16,
        "audio_in_channels": 4,
        "audio_out_channels": 4,
        "audio_num_attention_heads": 2,
        "audio_attention_head_dim": 4,
        "audio_cross_attention_dim": 8,
        "num_layers": 2,
        "caption_channels": TEXT,
        "vae_scale_factors": (2, 8, 8),
        "perturbed_attn": True,
    }
    LTX2VideoTransformer3DModel(**{**config, **network}).save_pretrained(folder / "transformer")
    video = AutoencoderKLLTX2Video(
        latent_channels=4,
        block_out_channels=(8,),
        decoder_block_out_channels=(8,),
        layers_per_block=(1,),
        decoder_layers_per_block=(1, 1),
        spatio_temporal_scaling=(True,),
        decoder_spatio_temporal_scaling=(True,),
        decoder_inject_noise=(False, False),
        downsample_type=("spatiotemporal",),
        upsample_residual=(False,),
        upsample_factor=(1,),
        upsample_type=("spatiotemporal",),
        patch_size=4,
    )
    sound = AutoencoderKLLTX2Audio(
        base_channels=4,
        ch_mult=(1, 2, 2),
        num_res_blocks=1,
        resolution=32,
        latent_channels=2,
        mel_bins=MEL,
    )
    for vae in (video, sound):
        vae.latents_mean.copy_(torch.randn(4) / 4)
        vae.latents_std.copy_(torch.rand(4) + 0.5)
    video.save_pretrained(folder / "vae")
    sound.save_pretrained(folder / "audio_vae")
    LTX2Vocoder(
        in_channels=2 * MEL,
        hidden_channels=16,
        upsample_kernel_sizes=[4, 4],
        upsample_factors=[2, 2],
        resnet_kernel_sizes=[3],
        resnet_dilations=[[1, 3, 5]],
        output_sampling_rate=400,
    ).save_pretrained(folder / "vocoder")
    both: dict[str, Any] = {}
    for kind in ("video", "audio"):
        both |= {
            f"{kind}_connector_num_attention_heads": 2,
            f"{kind}_connector_attention_head_dim": TEXT // 2,
            f"{kind}_connector_num_layers": 1,
            f"{kind}_connector_num_learnable_registers": 8,
        }
    LTX2TextConnectors(
        caption_channels=TEXT, text_proj_in_factor=LAYERS + 1, **both
    ).save_pretrained(folder / "connectors")
    write_gemma3(folder)
    write_configs(
        folder,
        pipeline,
        {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, **SHIFT},
        {
            "text_encoder": ["transformers", "Gemma3ForConditionalGeneration"],
            "tokenizer": ["transformers", "GemmaTokenizerFast"],
            "connectors": ["ltx2", "LTX2TextConnectors"],
            "transformer": ["diffusers", "LTX2VideoTransformer3DModel"],
            "vae": ["diffusers", "AutoencoderKLLTX2Video"],
            "audio_vae": ["diffusers", "AutoencoderKLLTX2Audio"],
            "vocoder": ["ltx2", "LTX2Vocoder"],
        },
    )
    return folder


def write_gemma3(folder: Path) -> None:
    """Gemma 3, which sees pictures too, and its tokenizer."""
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, GemmaTokenizer

    heads = {"num_attention_heads": 2, "intermediate_size": 24}
    text = {
        "vocab_size": 200,
        "hidden_size": TEXT,
        "num_hidden_layers": LAYERS,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "max_position_embeddings": 2048,
        **heads,
    }
    vision = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "image_size": 28,
        "patch_size": 14,
        **heads,
    }
    config = Gemma3Config(
        text_config=text,
        vision_config=vision,
        mm_tokens_per_image=1,
        image_token_index=150,
        boi_token_index=151,
        eoi_token_index=152,
    )
    Gemma3ForConditionalGeneration(config).save_pretrained(folder / "text_encoder")
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    letters = [chr(code) for code in range(33, 127)]
    vocabulary = dict.fromkeys([*special, "▁", "\n", *letters])
    tokenizer = GemmaTokenizer(vocab={token: i for i, token in enumerate(vocabulary)}, merges=[])
    tokenizer.save_pretrained(folder / "tokenizer")


def write_latent_upsampler(folder: Path, **config: Any) -> Path:
    """A network that makes the latents of `write_ltx_2` twice as wide and high.

    Args:
        config: over the network's config.
    """
    import torch
    from diffusers.pipelines.ltx2.latent_upsampler import LTX2LatentUpsamplerModel

    torch.manual_seed(1)
    LTX2LatentUpsamplerModel(
        **{"in_channels": 4, "mid_channels": 32, "num_blocks_per_stage": 1, **config}
    ).save_pretrained(folder)
    return folder
