"""A tiny LDM folder with text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny.folder import write_configs
from tiny.kept import kept
from tiny.latent_diffusion import write_vq_model
from tiny.tokenizers import WORDS

WINDOW = 77
"""LDMTextToImagePipeline pads to this many tokens, whatever its parts say."""


@kept
def write_latent_diffusion_text(
    folder: Path, autoencoder: str = "AutoencoderKL", scheduler: dict[str, Any] | None = None
) -> Path:
    """An LDMTextToImagePipeline folder: 4x4 latents, 32x32 pictures.

    LDMTextToImagePipeline takes latents to be an eighth of the picture, so the autoencoder has
    four levels.
    """
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.pipelines.latent_diffusion import LDMBertModel

    channels = 4 if autoencoder == "AutoencoderKL" else 3
    torch.manual_seed(0)
    UNet2DConditionModel(
        sample_size=4,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=4,
        norm_num_groups=8,
    ).save_pretrained(folder / "unet")
    if autoencoder == "VQModel":
        write_vq_model(folder / "vqvae", levels=4)
    else:
        AutoencoderKL(
            block_out_channels=(8,) * 4,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4,
            norm_num_groups=4,
        ).save_pretrained(folder / "vqvae")
    bert = LDMBertModel.config_class(
        vocab_size=100,
        max_position_embeddings=WINDOW,
        encoder_layers=2,
        encoder_ffn_dim=37,
        encoder_attention_heads=4,
        head_dim=8,
        d_model=32,
    )
    LDMBertModel(bert).save_pretrained(folder / "bert")
    write_bert_tokenizer(folder / "tokenizer")
    config = {
        "_class_name": "DDIMScheduler",
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "num_train_timesteps": 1000,
        "clip_sample": False,
        **(scheduler or {}),
    }
    parts = {
        "bert": ["latent_diffusion", "LDMBertModel"],
        "tokenizer": ["transformers", "BertTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vqvae": ["diffusers", autoencoder],
    }
    write_configs(folder, "LDMTextToImagePipeline", config, parts)
    return folder


def write_bert_tokenizer(folder: Path) -> None:
    """A BertTokenizer of a few whole words and letters."""
    from transformers import BertTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *letters]
    tokens = list(dict.fromkeys([*tokens, *(f"##{letter}" for letter in letters)]))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")
    vocab = {token: number for number, token in enumerate(tokens)}
    BertTokenizer(vocab=vocab, model_max_length=WINDOW).save_pretrained(folder)
