"""The networks of the `moving-shapes` model, as its training begins with them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch

from ldm_pipelines.moving_shapes.scenes import DIRECTIONS, FRAMES, Motion
from ldm_pipelines.training.networks import WIDTH
from ldm_pipelines.training.tokenizer import SPECIAL, SUFFIX

LOUD, TRIES = 40.0, 30  # length of the directions' embeddings, others have 1; how many are tried


def build_network(seed: int) -> Any:
    """A three-level `diffusers.UNetMotionModel`.

    Its attention to the text begins loud, and its frames know which they are: see `number_frames`.
    """
    from diffusers import UNetMotionModel
    from diffusers.models.attention_processor import AttnProcessor

    torch.manual_seed(seed)
    unet = UNetMotionModel(
        sample_size=8,
        block_out_channels=(32, 64, 96),
        layers_per_block=1,
        down_block_types=(
            "DownBlockMotion",
            "CrossAttnDownBlockMotion",
            "CrossAttnDownBlockMotion",
        ),
        up_block_types=("CrossAttnUpBlockMotion", "CrossAttnUpBlockMotion", "UpBlockMotion"),
        cross_attention_dim=WIDTH,
        num_attention_heads=4,
        norm_num_groups=8,
        motion_max_seq_length=FRAMES,
        motion_num_attention_heads=4,
    )
    with torch.no_grad():
        unet.conv_out.weight.mul_(0.1 * math.sqrt(3))
        for name, weight in unet.named_parameters():
            if "attn2.to_v" in name and weight.shape[1] == WIDTH:
                weight.mul_(12)
        number_frames(unet)
    # The plain formula: on CPU the fused kernel is slower on sequences as short as these.
    unet.set_attn_processor(AttnProcessor())
    return unet


@torch.no_grad()
def number_frames(unet: Any) -> None:
    """Begin the motion modules so that each frame's number reaches what is computed of it.

    With the sinusoids of long videos eight frames look nearly the same, and an attention that looks
    at all of them alike adds the same to each; none then knows which it is, and whence and whither
    are not told apart for thousands of steps. So the positions, which are stored with the weights,
    are mixtures of cosines over these eight frames, and in the first attention of each module,
    whose queries and keys begin as the same, each frame looks at itself.
    """
    frames = torch.arange(FRAMES) + 0.5
    waves = torch.cos(torch.pi / FRAMES * frames[:, None] * torch.arange(1, FRAMES))
    weights = dict(unet.named_parameters())
    for name, places in unet.named_buffers():
        if name.endswith("pos_embed.pe"):
            mixtures = torch.randn(FRAMES - 1, places.shape[-1]) * (2 / (FRAMES - 1)) ** 0.5
            places.copy_(1.5 * waves @ mixtures)
    for name, keys in weights.items():
        if "motion_modules" in name and name.endswith("attn1.to_k.weight"):
            keys.normal_(std=1.2 / math.sqrt(keys.shape[1]))
            weights[name.replace("to_k", "to_q")].copy_(keys)
            for louder in ("to_v", "to_out.0"):
                weights[name.replace("to_k", louder)].mul_(math.sqrt(3))


@torch.no_grad()
def take_text_weights(text_encoder: Any, tokenizer: Any, folder: Path) -> None:
    """Begin with the text encoder of a folder: every layer, and the words that both have."""
    from safetensors.torch import load_file

    trained = load_file(folder / "text_encoder" / "model.safetensors")
    numbers = json.loads((folder / "tokenizer" / "tokenizer.json").read_text())["model"]["vocab"]
    own = text_encoder.state_dict()
    for name, weight in own.items():
        there = trained[name].float()
        if "token_embedding" in name:
            for word, number in tokenizer.get_vocab().items():
                if (word in SPECIAL or word.endswith(SUFFIX)) and word in numbers:
                    weight[number] = there[numbers[word]]
        elif "position_embedding" in name:
            weight.copy_(there[: len(weight)])
        else:
            weight.copy_(there)
    text_encoder.load_state_dict(own)


@torch.no_grad()
def tell_directions_apart(text_encoder: Any, tokenizer: Any, seed: int) -> None:
    """Begin the four words of direction with long embeddings, each orthogonal to the others.

    An encoder that was trained without them writes the shape's colour over theirs: its states
    for right and left then differ by a hundredth of what they do for red and blue, and the network
    does not hear it. Of some random embeddings those whose states differ most are taken.
    """
    table = text_encoder.get_input_embeddings().weight
    rows = tokenizer.convert_tokens_to_ids([word + SUFFIX for word in DIRECTIONS])
    captions = [Motion("circle", "red", word, "black").caption for word in DIRECTIONS]
    tokens = tokenizer(captions, return_tensors="pt").input_ids
    place = tokens[0].tolist().index(rows[0])

    def apart() -> float:
        states = text_encoder(tokens).last_hidden_state[:, place]
        return float(torch.pdist(states).min())

    generator, best = torch.Generator().manual_seed(seed), (0.0, table[rows])
    for _ in range(TRIES):
        random = torch.randn(table.shape[1], len(rows), generator=generator)
        table[rows] = LOUD * torch.linalg.qr(random)[0].T
        best = max(best, (apart(), table[rows]), key=lambda pair: pair[0])
    table[rows] = best[1]
