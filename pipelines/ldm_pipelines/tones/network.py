"""The networks of the `tones` model, as its training begins with them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from ldm_pipelines.tones.lapped import CHANNELS

TEXT, WIDTH, HEADS, LAYERS = 64, 128, 4, 4
MAX_TOKENS = 6  # four words and the end
LONGEST = 2  # seconds that the network can be told


def build_tokenizer(captions: Iterable[str]) -> Any:
    """A `transformers.T5Tokenizer` whose vocabulary is the captions' words."""
    from transformers import T5Tokenizer

    words = sorted({word for caption in captions for word in caption.split()})
    tokens = ["<pad>", "</s>", "<unk>", *("▁" + word for word in words)]
    return T5Tokenizer(
        vocab=[(token, 0.0 if token.startswith("▁") else -10.0) for token in tokens],
        extra_ids=0,
        model_max_length=MAX_TOKENS,
    )


def build_text_encoder(tokenizer: Any, seed: int) -> Any:
    """A two-layer `transformers.T5EncoderModel` for the tokenizer's vocabulary."""
    from transformers import T5Config, T5EncoderModel

    torch.manual_seed(seed)
    return T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=TEXT,
            d_kv=16,
            d_ff=2 * TEXT,
            num_layers=2,
            num_heads=4,
            dropout_rate=0.0,
        )
    )


def build_projection(seed: int) -> Any:
    """What tells the network the words and the two times."""
    from diffusers.pipelines.stable_audio import StableAudioProjectionModel

    torch.manual_seed(seed)
    return StableAudioProjectionModel(TEXT, TEXT, 0, LONGEST)


def build_network(places: int, seed: int) -> Any:
    """A `diffusers.StableAudioDiTModel` of four layers, as its training begins with it.

    On the way from the words to the states each layer keeps their size, so that the text is heard
    from the first update. Every channel comes in and goes out as loud as any other; the
    convolutions before and after, which could turn down one that is seldom heard, stay nothing.
    """
    from diffusers import StableAudioDiTModel

    torch.manual_seed(seed)
    transformer = StableAudioDiTModel(
        sample_size=places,
        in_channels=CHANNELS,
        num_layers=LAYERS,
        attention_head_dim=WIDTH // HEADS,
        num_attention_heads=HEADS,
        num_key_value_attention_heads=HEADS,
        out_channels=CHANNELS,
        cross_attention_dim=WIDTH,
        time_proj_dim=64,
        global_states_input_dim=2 * TEXT,
        cross_attention_input_dim=TEXT,
    )
    louder = ("cross_attention_proj", "attn2.to_v", "attn2.to_out")
    with torch.no_grad():
        for name, weight in transformer.named_parameters():
            if name.endswith("weight") and any(part in name for part in louder):
                weight.mul_(math.sqrt(3))
        nn.init.orthogonal_(transformer.proj_in.weight, gain=math.sqrt(2))
        transformer.proj_out.weight.copy_(0.05 * transformer.proj_in.weight.T)
        for mixed in (transformer.preprocess_conv, transformer.postprocess_conv):
            nn.init.zeros_(mixed.weight).requires_grad_(False)
    return transformer


@torch.no_grad()
def even_channels(transformer: Any) -> None:
    """Bring in and give out each channel of a trained network at least as loud as the usual one.

    One that is seldom heard may have been turned down early, so far that it is hardly learnt from
    again: its noise then stays in every sound, as a tone. What the convolutions before and after
    do is taken into the layers beside them, and they are left nothing, as `build_network` has them.
    """
    same = torch.eye(CHANNELS)
    before, after = transformer.preprocess_conv.weight, transformer.postprocess_conv.weight
    comes = transformer.proj_in.weight @ (same + before[..., 0])
    goes = (same + after[..., 0]) @ transformer.proj_out.weight
    for weight, mixed, lengths in (
        (transformer.proj_in.weight, comes, comes.norm(dim=0)),
        (transformer.proj_out.weight, goes, goes.norm(dim=1)[:, None]),
    ):
        weight.copy_(mixed * (lengths.median() / lengths).clamp(min=1))
    nn.init.zeros_(before)
    nn.init.zeros_(after)
