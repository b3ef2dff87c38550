"""A model folder's weights in one file, named as the models' authors name them.

The names are those of the public checkpoints of CompVis and Stability AI; they are written here
the other way round from any converter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Weights = dict[str, "Tensor"]

RESNET = (
    ("norm1.", "in_layers.0."),
    ("conv1.", "in_layers.2."),
    ("time_emb_proj.", "emb_layers.1."),
    ("norm2.", "out_layers.0."),
    ("conv2.", "out_layers.3."),
    ("conv_shortcut.", "skip_connection."),
)
UNET = (
    ("time_embedding.linear_1.", "time_embed.0."),
    ("time_embedding.linear_2.", "time_embed.2."),
    ("add_embedding.linear_1.", "label_emb.0.0."),
    ("add_embedding.linear_2.", "label_emb.0.2."),
    ("conv_in.", "input_blocks.0.0."),
    ("conv_norm_out.", "out.0."),
    ("conv_out.", "out.2."),
    ("mid_block.resnets.0.", "middle_block.0."),
    ("mid_block.attentions.0.", "middle_block.1."),
    ("mid_block.resnets.1.", "middle_block.2."),
)
VAE = (
    (r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block."),
    (r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample."),
    (r"up_blocks\.(\d+)\.resnets\.", r"up.\1.block."),
    (r"up_blocks\.(\d+)\.upsamplers\.0\.", r"up.\1.upsample."),
    (r"mid_block\.resnets\.0", "mid.block_1"),
    (r"mid_block\.resnets\.1", "mid.block_2"),
    (r"mid_block\.attentions\.0", "mid.attn_1"),
    ("group_norm", "norm"),
    (r"to_([qkv])\.", r"\1."),
    (r"to_out\.0\.", "proj_out."),
    ("conv_norm_out", "norm_out"),
    ("conv_shortcut", "nin_shortcut"),
)
OPEN_CLIP = (
    (r"^(text_model\.)?encoder\.layers\.", "transformer.resblocks."),
    (r"^(text_model\.)?embeddings\.token_embedding\.", "token_embedding."),
    (r"^(text_model\.)?embeddings\.position_embedding\.weight", "positional_embedding"),
    (r"^(text_model\.)?final_layer_norm", "ln_final"),
    ("layer_norm", "ln_"),
    (r"mlp\.fc1", "mlp.c_fc"),
    (r"mlp\.fc2", "mlp.c_proj"),
    (r"self_attn\.", "attn."),
)
MMDIT = (
    (r"pos_embed\.pos_embed", "pos_embed"),
    (r"pos_embed\.proj", "x_embedder.proj"),
    (r"time_text_embed\.timestep_embedder\.linear_1", "t_embedder.mlp.0"),
    (r"time_text_embed\.timestep_embedder\.linear_2", "t_embedder.mlp.2"),
    (r"time_text_embed\.text_embedder\.linear_1", "y_embedder.mlp.0"),
    (r"time_text_embed\.text_embedder\.linear_2", "y_embedder.mlp.2"),
    (r"^transformer_blocks", "joint_blocks"),
    (r"norm1\.linear", "x_block.adaLN_modulation.1"),
    (r"norm1_context\.linear", "context_block.adaLN_modulation.1"),
    (r"ff\.net\.0\.proj", "x_block.mlp.fc1"),
    (r"ff\.net\.2", "x_block.mlp.fc2"),
    (r"ff_context\.net\.0\.proj", "context_block.mlp.fc1"),
    (r"ff_context\.net\.2", "context_block.mlp.fc2"),
    (r"attn\.to_out\.0", "x_block.attn.proj"),
    (r"attn\.to_add_out", "context_block.attn.proj"),
    (r"^norm_out\.linear", "final_layer.adaLN_modulation.1"),
    (r"^proj_out", "final_layer.linear"),
)


def write_single_file(folder: Path, file: Path, leave_out: Iterable[str] = ()) -> Path:
    """The weights of a Stable Diffusion, SDXL or SD3 folder in one file.

    Args:
        leave_out: components that the file should not hold.
    """
    from safetensors.torch import load_file, save_file

    index = json.loads((folder / "model_index.json").read_text())
    whole: Weights = {}
    for part in sorted(path.parent for path in folder.glob("*/*.safetensors")):
        if part.name in leave_out:
            continue
        state: Weights = {}
        for weights in part.glob("*.safetensors"):
            state |= load_file(weights)
        config = json.loads((part / "config.json").read_text())
        if part.name == "unet":
            whole |= start("model.diffusion_model.", unet(state, config))
        elif part.name == "transformer":
            whole |= start("model.diffusion_model.", mmdit(state, config))
        elif part.name == "vae":
            whole |= start("first_stage_model.", vae(state, len(config["block_out_channels"])))
        elif part.name == "text_encoder_2":
            whole |= start("conditioner.embedders.1.model.", open_clip(state))
        else:
            both = index.get("text_encoder_2", [None])[0] is not None
            place = "conditioner.embedders.0." if both else "cond_stage_model."
            state = {k.removeprefix("text_model."): v for k, v in state.items()}
            whole |= start(f"{place}transformer.text_model.", state)
    save_file({name: tensor.contiguous() for name, tensor in whole.items()}, file)
    return file


def start(prefix: str, state: Weights) -> Weights:
    return {prefix + name: tensor for name, tensor in state.items()}


def renamed(state: Weights, rules: Iterable[tuple[str, str]]) -> Weights:
    found = {}
    for name, tensor in state.items():
        for old, new in rules:
            name = re.sub(old, new, name)
        found[name] = tensor
    return found


def unet(state: Weights, config: Mapping[str, object]) -> Weights:
    """CompVis's names: blocks are counted through, each a residual block and what follows it."""
    layers = config["layers_per_block"]
    assert isinstance(layers, int)
    places = dict(UNET)
    count = 1
    for i, _ in enumerate(config["down_block_types"]):  # type: ignore[call-overload]
        for j in range(layers):
            places[f"down_blocks.{i}.resnets.{j}."] = f"input_blocks.{count}.0."
            places[f"down_blocks.{i}.attentions.{j}."] = f"input_blocks.{count}.1."
            count += 1
        places[f"down_blocks.{i}.downsamplers.0.conv."] = f"input_blocks.{count}.0.op."
        count += 1
    count = 0
    for i, kind in enumerate(config["up_block_types"]):  # type: ignore[call-overload]
        for j in range(layers + 1):
            places[f"up_blocks.{i}.resnets.{j}."] = f"output_blocks.{count}.0."
            places[f"up_blocks.{i}.attentions.{j}."] = f"output_blocks.{count}.1."
            count += 1
        last = f"output_blocks.{count - 1}.{2 if 'CrossAttn' in kind else 1}.conv."
        places[f"up_blocks.{i}.upsamplers.0.conv."] = last
    found = {}
    for name, tensor in state.items():
        old = next(place for place in places if name.startswith(place))
        rest = name.removeprefix(old)
        if "resnets" in old:
            for ours, theirs in RESNET:
                rest = rest.replace(ours, theirs)
        found[places[old] + rest] = tensor
    return found


def vae(state: Weights, levels: int) -> Weights:
    """CompVis's names: the decoder's levels are counted from the finest; attention is 1x1
    convolutions."""
    found = {}
    for name, tensor in renamed(state, VAE).items():
        name = re.sub(r"\bup\.(\d+)", lambda m: f"up.{levels - 1 - int(m[1])}", name)
        one_by_one = re.search(r"attn_1\.(q|k|v|proj_out)\.weight", name)
        found[name] = tensor[:, :, None, None] if one_by_one else tensor
    return found


def stack(state: Weights, names: tuple[str, str, str], whole: str, end: str) -> Weights:
    """Three projections of each layer as one; `end` goes before weight or bias."""
    import torch

    found = dict(state)
    for name in state:
        first, of_first, kind = name.rpartition(f"{names[0]}.")
        if of_first:
            parts = [found.pop(f"{first}{projection}.{kind}") for projection in names]
            found[f"{first}{whole}{end}{kind}"] = torch.cat(parts)
    return found


def open_clip(state: Weights) -> Weights:
    """OpenCLIP's names: one input projection, and the text projection transposed."""
    found = stack(renamed(state, OPEN_CLIP), ("q_proj", "k_proj", "v_proj"), "in_proj", "_")
    found["text_projection"] = found.pop("text_projection.weight").T
    return found


def mmdit(state: Weights, config: Mapping[str, object]) -> Weights:
    """Stability's names: one projection for query, key and value; shift before scale."""
    import torch

    state = stack(state, ("attn.to_q", "attn.to_k", "attn.to_v"), "x_block.attn.qkv", ".")
    added = ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")
    state = stack(state, added, "context_block.attn.qkv", ".")
    last = f"transformer_blocks.{int(str(config['num_layers'])) - 1}.norm1_context."
    for name, tensor in state.items():
        if name.startswith(("norm_out.", last)):
            scale, shift = tensor.chunk(2)
            state[name] = torch.cat([shift, scale])
    return renamed(state, MMDIT)
