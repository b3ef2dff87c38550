"""Tiny text encoders beside Stable Diffusion's, with their tokenizers."""

from __future__ import annotations

from pathlib import Path

from tiny.tokenizers import WINDOW, write_clip_tokenizer, write_t5_tokenizer


def write_clip(
    folder: Path,
    encoder: str,
    tokenizer: str,
    hidden: int,
    projection: int | None = None,
    max_position_embeddings: int = WINDOW,
) -> str:
    """A CLIP text encoder and its tokenizer in a model folder; with a projection, of the class
    that has one. Returns the class."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=1000,
        hidden_size=hidden,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=max_position_embeddings,
        projection_dim=projection or hidden,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    cls = CLIPTextModelWithProjection if projection else CLIPTextModel
    cls(config).save_pretrained(folder / encoder)
    write_clip_tokenizer(folder / tokenizer)
    return cls.__name__


def write_t5(folder: Path, encoder: str, tokenizer: str, hidden: int) -> None:
    """A T5 encoder and its tokenizer in a model folder."""
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=100,
        d_model=hidden,
        d_kv=8,
        d_ff=37,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
    )
    T5EncoderModel(config).save_pretrained(folder / encoder)
    write_t5_tokenizer(folder / tokenizer)
