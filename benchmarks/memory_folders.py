"""Folders of random weights, of 60 to 550 million parameters, of several families.

Networks and encoders are of the real classes; tokenizers are those of the tests.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from tiny.folder import write_configs
from tiny.tokenizers import write_clip_tokenizer, write_t5_tokenizer

SCHEDULER = {
    "_class_name": "DDIMScheduler",
    "beta_schedule": "linear",
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "num_train_timesteps": 1000,
    "clip_sample": False,
}
FLOW = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0}


def write_unet(folder: Path, width: int, text: int) -> None:
    """Stable Diffusion, its widths so many times 1, 2 and 4."""
    from diffusers import UNet2DConditionModel

    UNet2DConditionModel(
        sample_size=32,
        block_out_channels=(width, 2 * width, 4 * width),
        layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=text,
        attention_head_dim=8,
    ).save_pretrained(folder / "unet")
    autoencoder(folder, 4)
    clip(folder, "text_encoder", "tokenizer", text)
    index(folder, "StableDiffusionPipeline", SCHEDULER, "unet", "UNet2DConditionModel", clip=True)


def write_dit(folder: Path, width: int, layers: int) -> None:
    from diffusers import DiTTransformer2DModel

    DiTTransformer2DModel(
        num_attention_heads=width // 64,
        attention_head_dim=64,
        in_channels=4,
        out_channels=8,
        num_layers=layers,
        sample_size=32,
        num_embeds_ada_norm=1000,
    ).save_pretrained(folder / "transformer")
    autoencoder(folder, 4)
    index(folder, "DiTPipeline", SCHEDULER, "transformer", "DiTTransformer2DModel")


def write_pixart(folder: Path, width: int, layers: int, text: int) -> None:
    from diffusers import PixArtTransformer2DModel
    from transformers import T5Config, T5EncoderModel

    PixArtTransformer2DModel(
        num_attention_heads=width // 64,
        attention_head_dim=64,
        in_channels=4,
        out_channels=8,
        num_layers=layers,
        cross_attention_dim=width,
        sample_size=32,
        patch_size=2,
        caption_channels=text,
        use_additional_conditions=False,
    ).save_pretrained(folder / "transformer")
    autoencoder(folder, 4)
    config = T5Config(
        vocab_size=32128, d_model=text, d_kv=64, d_ff=4 * text, num_layers=12, num_heads=12
    )
    T5EncoderModel(config).save_pretrained(folder / "text_encoder")
    write_t5_tokenizer(folder / "tokenizer")
    texts = {
        "text_encoder": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", "T5Tokenizer"],
    }
    cls = "PixArtTransformer2DModel"
    index(folder, "PixArtAlphaPipeline", SCHEDULER, "transformer", cls, **texts)


def write_flux(folder: Path, heads: int, layers: int, text: int) -> None:
    from diffusers import FluxTransformer2DModel
    from transformers import T5Config, T5EncoderModel

    FluxTransformer2DModel(
        in_channels=64,
        num_layers=layers,
        num_single_layers=2 * layers,
        attention_head_dim=128,
        num_attention_heads=heads,
        joint_attention_dim=text,
        pooled_projection_dim=512,
        guidance_embeds=True,
    ).save_pretrained(folder / "transformer")
    autoencoder(folder, 16, shift_factor=0.1159)
    clip(folder, "text_encoder", "tokenizer", 512)
    config = T5Config(
        vocab_size=32128, d_model=text, d_kv=64, d_ff=2 * text, num_layers=6, num_heads=8
    )
    T5EncoderModel(config).save_pretrained(folder / "text_encoder_2")
    write_t5_tokenizer(folder / "tokenizer_2")
    texts = {
        "text_encoder_2": ["transformers", "T5EncoderModel"],
        "tokenizer_2": ["transformers", "T5TokenizerFast"],
    }
    cls = "FluxTransformer2DModel"
    index(folder, "FluxPipeline", FLOW, "transformer", cls, clip=True, **texts)


def write_xl(folder: Path, width: int, text: int, layers: int) -> None:
    """Stable Diffusion XL, its widths so many times 1, 2 and 4."""
    from diffusers import UNet2DConditionModel

    UNet2DConditionModel(
        sample_size=40,
        block_out_channels=(width, 2 * width, 4 * width),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 1, layers),
        cross_attention_dim=2 * text,
        attention_head_dim=(2, 4, 8),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=6 * 256 + text,
    ).save_pretrained(folder / "unet")
    autoencoder(folder, 4, width=96)
    clip(folder, "text_encoder", "tokenizer", text)
    clip(folder, "text_encoder_2", "tokenizer_2", text, projection=text)
    texts = {
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
    }
    pipeline, cls = "StableDiffusionXLPipeline", "UNet2DConditionModel"
    index(folder, pipeline, SCHEDULER, "unet", cls, clip=True, **texts)


def write_stable_diffusion_3(folder: Path, width: int, layers: int, text: int) -> None:
    """Without the third text encoder."""
    from diffusers import SD3Transformer2DModel

    SD3Transformer2DModel(
        sample_size=32,
        patch_size=2,
        in_channels=16,
        out_channels=16,
        num_layers=layers,
        attention_head_dim=64,
        num_attention_heads=width // 64,
        caption_projection_dim=width,
        joint_attention_dim=4 * text,
        pooled_projection_dim=2 * text,
        pos_embed_max_size=96,
    ).save_pretrained(folder / "transformer")
    autoencoder(folder, 16, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False)
    cls = "CLIPTextModelWithProjection"
    texts: dict[str, Any] = {"text_encoder_3": [None, None], "tokenizer_3": [None, None]}
    for end in ("", "_2"):
        clip(folder, f"text_encoder{end}", f"tokenizer{end}", text, projection=text)
        texts[f"text_encoder{end}"] = ["transformers", cls]
        texts[f"tokenizer{end}"] = ["transformers", "CLIPTokenizer"]
    network = "SD3Transformer2DModel"
    index(folder, "StableDiffusion3Pipeline", FLOW, "transformer", network, **texts)


def autoencoder(folder: Path, channels: int, width: int = 64, **config: Any) -> None:
    """One latent for 8x8 pixels."""
    from diffusers import AutoencoderKL

    AutoencoderKL(
        block_out_channels=(width, 2 * width, 4 * width, 4 * width),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=channels,
        sample_size=256,
        **config,
    ).save_pretrained(folder / "vae")


def clip(folder: Path, encoder: str, tokenizer: str, hidden: int, projection: int = 0) -> None:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=6,
        num_attention_heads=8,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
        **({"projection_dim": projection} if projection else {}),
    )
    cls = CLIPTextModelWithProjection if projection else CLIPTextModel
    cls(config).save_pretrained(folder / encoder)
    write_clip_tokenizer(folder / tokenizer)


def index(
    folder: Path,
    pipeline: str,
    scheduler: dict[str, Any],
    network: str,
    cls: str,
    *,
    clip: bool = False,
    **texts: Any,
) -> None:
    if clip:
        texts["text_encoder"] = ["transformers", "CLIPTextModel"]
        texts["tokenizer"] = ["transformers", "CLIPTokenizer"]
    parts = {network: ["diffusers", cls], "vae": ["diffusers", "AutoencoderKL"], **texts}
    write_configs(folder, pipeline, scheduler, parts)


FOLDERS: dict[str, Callable[[Path], None]] = {
    "unet-90": lambda folder: write_unet(folder, 96, 512),
    "unet-380": lambda folder: write_unet(folder, 192, 768),
    "dit-130": lambda folder: write_dit(folder, 768, 12),
    "pixart-230": lambda folder: write_pixart(folder, 768, 10, 768),
    "flux-330": lambda folder: write_flux(folder, 8, 5, 512),
    "unet-60": lambda folder: write_unet(folder, 64, 384),
    "dit-550": lambda folder: write_dit(folder, 1152, 20),
    "sdxl-370": lambda folder: write_xl(folder, 128, 640, 4),
    "sd3-400": lambda folder: write_stable_diffusion_3(folder, 896, 10, 512),
}
"""By a name that says how many million parameters they have, in about."""


def write(name: str, folder: Path) -> Path:
    """A folder, the same each time."""
    import torch

    torch.manual_seed(0)
    FOLDERS[name](folder)
    return folder


if __name__ == "__main__":
    for name in FOLDERS:
        write(name, Path(sys.argv[1]) / name)
        files = (Path(sys.argv[1]) / name).rglob("*.safetensors")
        print(name, sum(file.stat().st_size for file in files) // 4 // 10**6)
