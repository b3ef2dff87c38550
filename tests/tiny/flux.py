"""Tiny Flux folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny.autoencoder import deep_autoencoder, write_autoencoder
from tiny.folder import write_configs
from tiny.kept import kept
from tiny.text_encoders import write_clip, write_t5


@kept
def write_flux(
    folder: Path,
    guided: bool = True,
    scheduler: dict[str, Any] | None = None,
    pipeline: str = "FluxPipeline",
    halvings: int = 1,
    **network: Any,
) -> Path:
    """A Flux folder: latents of 4 channels, two pixels for each; its own pictures are 256x256.

    Args:
        guided: the network takes its guidance as a number (dev), or takes none (schnell).
        pipeline: the class that it was saved from; the network of another task takes more channels.
        halvings: of the picture's sides, by the autoencoder.
        network: over the network's config.
    """
    import torch
    from diffusers import FluxTransformer2DModel

    torch.manual_seed(0)
    config: dict[str, Any] = {
        "in_channels": 16,
        "num_layers": 1,
        "num_single_layers": 1,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": 32,
        "pooled_projection_dim": 24,
        "axes_dims_rope": (4, 4, 8),
        "guidance_embeds": guided,
    }
    if "Fill" in pipeline:
        config |= {"in_channels": 32 + 4 * 4**halvings, "out_channels": 16}
    if pipeline.startswith("FluxControl") and "Net" not in pipeline:
        config |= {"in_channels": 32, "out_channels": 16}
    FluxTransformer2DModel(**{**config, **network}).save_pretrained(folder / "transformer")
    write_autoencoder(
        folder,
        channels=4,
        use_quant_conv=False,
        use_post_quant_conv=False,
        scaling_factor=0.3611,
        shift_factor=0.1159,
        **(deep_autoencoder(halvings) if halvings > 1 else {}),
    )
    clip = write_clip(folder, "text_encoder", "tokenizer", hidden=24)
    write_t5(folder, "text_encoder_2", "tokenizer_2", hidden=32)
    own = {"shift": 3.0, "use_dynamic_shifting": True} if guided else {"shift": 1.0}
    write_configs(
        folder,
        pipeline,
        {
            "_class_name": "FlowMatchEulerDiscreteScheduler",
            "num_train_timesteps": 1000,
            "base_image_seq_len": 256,
            "base_shift": 0.5,
            "max_image_seq_len": 4096,
            "max_shift": 1.15,
            **own,
            **(scheduler or {}),
        },
        {
            "text_encoder": ["transformers", clip],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "text_encoder_2": ["transformers", "T5EncoderModel"],
            "tokenizer_2": ["transformers", "T5TokenizerFast"],
            "transformer": ["diffusers", "FluxTransformer2DModel"],
            "vae": ["diffusers", "AutoencoderKL"],
            "feature_extractor": [None, None],
            "image_encoder": [None, None],
        },
    )
    return folder


def write_redux(folder: Path, width: int = 32) -> Path:
    """A FluxPriorReduxPipeline folder, which looks at pictures of 16x16.

    Args:
        width: of the states that it gives.
    """
    import json

    import torch
    from diffusers.pipelines.flux import ReduxImageEncoder
    from transformers import SiglipImageProcessorPil, SiglipVisionConfig, SiglipVisionModel

    torch.manual_seed(1)
    config = SiglipVisionConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=16,
        patch_size=8,
    )
    SiglipVisionModel(config).save_pretrained(folder / "image_encoder")
    embedder = ReduxImageEncoder(redux_dim=16, txt_in_features=width)
    embedder.save_pretrained(folder / "image_embedder")
    processor = SiglipImageProcessorPil(size={"height": 16, "width": 16})
    processor.save_pretrained(folder / "feature_extractor")
    index = {
        "_class_name": "FluxPriorReduxPipeline",
        "_diffusers_version": "0.35.0",
        "feature_extractor": ["transformers", "SiglipImageProcessor"],
        "image_embedder": ["flux", "ReduxImageEncoder"],
        "image_encoder": ["transformers", "SiglipVisionModel"],
        **{name: [None, None] for name in ("text_encoder", "text_encoder_2")},
        **{name: [None, None] for name in ("tokenizer", "tokenizer_2")},
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder
