"""Networks in one file, named as their authors' own code names the weights: the other way round
from Diffusers' converters."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Weights = dict[str, "Tensor"]
AURA_BLOCKS = (
    ("joint_transformer_blocks.", "double_layers."),
    ("single_transformer_blocks.", "single_layers."),
)
AURA = (
    ("time_step_proj.linear_1.", "t_embedder.mlp.0."),
    ("time_step_proj.linear_2.", "t_embedder.mlp.2."),
    ("context_embedder.", "cond_seq_linear."),
    ("pos_embed.pos_embed", "positional_encoding"),
    ("pos_embed.proj.", "init_x_linear."),
    ("norm_out.linear.", "modF.1."),
    ("proj_out.", "final_linear."),
)
AURA_FEED = (("linear_1", "c_fc1"), ("linear_2", "c_fc2"), ("out_projection", "c_proj"))
AURA_NORMS = {"norm1": ("modX", "modCX"), "norm1_context": ("modC",)}
AURA_ATTENTION = (
    ("attn.to_out.0.", "attn.{}o."), ("attn.to_q.", "attn.{}q."), ("attn.to_k.", "attn.{}k."),
    ("attn.to_v.", "attn.{}v."),
)  # fmt: skip
AURA_ADDED = (
    ("attn.add_q_proj.", "attn.w1q."), ("attn.add_k_proj.", "attn.w1k."),
    ("attn.add_v_proj.", "attn.w1v."), ("attn.to_add_out.", "attn.w1o."),
)  # fmt: skip
LTX = (("time_embed.", "adaln_single."), ("norm_q.", "q_norm."), ("norm_k.", "k_norm."))
LTX_2 = (
    ("av_cross_attn_video_scale_shift.", "av_ca_video_scale_shift_adaln_single."),
    ("av_cross_attn_audio_scale_shift.", "av_ca_audio_scale_shift_adaln_single."),
    ("av_cross_attn_video_a2v_gate.", "av_ca_a2v_gate_adaln_single."),
    ("av_cross_attn_audio_v2a_gate.", "av_ca_v2a_gate_adaln_single."),
    ("video_a2v_cross_attn_scale_shift_table", "scale_shift_table_a2v_ca_video"),
    ("audio_a2v_cross_attn_scale_shift_table", "scale_shift_table_a2v_ca_audio"),
    ("audio_proj_in.", "audio_patchify_proj."),
)
LTX_2_VAE = (
    (r"^encoder\.mid_block", "encoder.down_blocks.8"),
    (r"^encoder\.down_blocks\.0\.downsamplers\.0", "encoder.down_blocks.1"),
    (r"^decoder\.up_blocks\.0\.upsamplers\.0", "decoder.up_blocks.1"),
    (r"^decoder\.up_blocks\.0", "decoder.up_blocks.2"),
    (r"^decoder\.mid_block", "decoder.up_blocks.0"),
    ("resnets", "res_blocks"),
)
HUNYUAN = (
    (r"^single_transformer_blocks(.*)attn\.norm_([qk])", r"single_blocks\1\2_norm"),
    (r"^single_transformer_blocks(.*)norm\.linear", r"single_blocks\1modulation.linear"),
    (r"^single_transformer_blocks(.*)proj_out", r"single_blocks\1linear2"),
    (r"^single_transformer_blocks", "single_blocks"),
    (r"^x_embedder\.", "img_in."),
    (r"^time_text_embed\.timestep_embedder\.linear_1", "time_in.mlp.0"),
    (r"^time_text_embed\.timestep_embedder\.linear_2", "time_in.mlp.2"),
    (r"^time_text_embed\.guidance_embedder\.linear_1", "guidance_in.mlp.0"),
    (r"^time_text_embed\.guidance_embedder\.linear_2", "guidance_in.mlp.2"),
    (r"^time_text_embed\.text_embedder\.linear_1", "vector_in.in_layer"),
    (r"^time_text_embed\.text_embedder\.linear_2", "vector_in.out_layer"),
    (r"^context_embedder\.time_text_embed\.timestep_embedder\.linear_1", "txt_in.t_embedder.mlp.0"),
    (r"^context_embedder\.time_text_embed\.timestep_embedder\.linear_2", "txt_in.t_embedder.mlp.2"),
    (r"^context_embedder\.time_text_embed\.text_embedder", "txt_in.c_embedder"),
    (r"^context_embedder\.proj_in", "txt_in.input_embedder"),
    (r"^context_embedder\.token_refiner\.refiner_blocks", "txt_in.individual_token_refiner.blocks"),
    (r"^(txt_in.*)norm_out\.linear", r"\1adaLN_modulation.1"),
    (r"^(txt_in.*)attn\.to_out\.0", r"\1self_attn_proj"),
    (r"^(txt_in.*)ff\.net\.0\.proj", r"\1mlp.fc1"),
    (r"^(txt_in.*)ff\.net\.2", r"\1mlp.fc2"),
    (r"^transformer_blocks", "double_blocks"),
    (r"attn\.norm_q", "img_attn_q_norm"),
    (r"attn\.norm_k", "img_attn_k_norm"),
    (r"attn\.norm_added_q", "txt_attn_q_norm"),
    (r"attn\.norm_added_k", "txt_attn_k_norm"),
    (r"attn\.to_out\.0", "img_attn_proj"),
    (r"attn\.to_add_out", "txt_attn_proj"),
    (r"norm1\.linear", "img_mod.linear"),
    (r"norm1_context\.linear", "txt_mod.linear"),
    (r"ff\.net\.0\.proj", "img_mlp.fc1"),
    (r"ff\.net\.2", "img_mlp.fc2"),
    (r"ff_context\.net\.0\.proj", "txt_mlp.fc1"),
    (r"ff_context\.net\.2", "txt_mlp.fc2"),
    (r"^norm_out\.linear", "final_layer.adaLN_modulation.1"),
    (r"^proj_out", "final_layer.linear"),
)
HUNYUAN_SINGLE = ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")
LUMINA = (
    ("time_caption_embed.caption_embedder.", "cap_embedder."),
    ("time_caption_embed.timestep_embedder.linear_1.", "t_embedder.mlp.0."),
    ("time_caption_embed.timestep_embedder.linear_2.", "t_embedder.mlp.2."),
    ("norm_out.linear_1.", "final_layer.adaLN_modulation.1."),
    ("norm_out.linear_2.", "final_layer.linear."),
    ("feed_forward.linear_", "feed_forward.w"),
    ("attn.norm_q.", "attention.q_norm."),
    ("attn.norm_k.", "attention.k_norm."),
    ("attn.to_out.0.", "attention.out."),
    ("norm1.linear.", "adaLN_modulation.1."),
    ("norm1.norm.", "attention_norm1."),
)
WAN = (
    (r"condition_embedder\.time_embedder\.linear_1", "time_embedding.0"),
    (r"condition_embedder\.time_embedder\.linear_2", "time_embedding.2"),
    (r"condition_embedder\.text_embedder\.linear_1", "text_embedding.0"),
    (r"condition_embedder\.text_embedder\.linear_2", "text_embedding.2"),
    (r"condition_embedder\.time_proj", "time_projection.1"),
    (r"attn1\.", "self_attn."),
    (r"attn2\.", "cross_attn."),
    (r"\.to_out\.0\.", ".o."),
    (r"\.to_([qkv])\.", r".\1."),
    (r"ffn\.net\.0\.proj", "ffn.0"),
    (r"ffn\.net\.2", "ffn.2"),
    (r"(blocks\.\d+)\.norm2", r"\1.norm3"),
    (r"(blocks\.\d+)\.scale_shift_table", r"\1.modulation"),
    (r"^scale_shift_table", "head.modulation"),
    (r"^proj_out", "head.head"),
)
SANA = (
    ("patch_embed.proj.", "x_embedder.proj."),
    ("time_embed.emb.timestep_embedder.linear_1.", "t_embedder.mlp.0."),
    ("time_embed.emb.timestep_embedder.linear_2.", "t_embedder.mlp.2."),
    ("time_embed.linear.", "t_block.1."),
    ("caption_projection.linear_1.", "y_embedder.y_proj.fc1."),
    ("caption_projection.linear_2.", "y_embedder.y_proj.fc2."),
    ("caption_norm.", "attention_y_norm."),
    ("transformer_blocks.", "blocks."),
    ("attn1.to_out.0.", "attn.proj."),
    ("attn2.to_q.", "cross_attn.q_linear."),
    ("attn2.to_out.0.", "cross_attn.proj."),
    ("ff.conv_inverted.", "mlp.inverted_conv.conv."),
    ("ff.conv_depth.", "mlp.depth_conv.conv."),
    ("ff.conv_point.", "mlp.point_conv.conv."),
    ("proj_out.", "final_layer.linear."),
)


def write_network(
    kind: str, folder: Path, file: Path, start: str = "", part: str = "transformer"
) -> Path:
    """The weights of a folder's network in one file.

    Args:
        kind: whose names: aura_flow, hidream, hunyuan_video, ltx_2, ltx_video, lumina_2, sana,
            stable_cascade or wan.
        start: of each name.
        part: the network.
    """
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / part / "diffusion_pytorch_model.safetensors")
    named: dict[str, Callable[[Weights], Weights]] = {
        "aura_flow": _aura,
        "hidream": dict,
        "hunyuan_video": _hunyuan,
        "ltx_2": _ltx_2,
        "ltx_video": _ltx,
        "lumina_2": _lumina,
        "sana": _sana,
        "stable_cascade": _cascade,
        "wan": _wan,
    }
    names = named[kind]
    save_file({f"{start}{n}": t.contiguous() for n, t in names(weights).items()}, file)
    return file


def _aura(weights: Weights) -> Weights:
    import torch

    named = {}
    for name, tensor in weights.items():
        single = name.startswith("single")
        if name == "norm_out.linear.weight":
            scale, shift = tensor.chunk(2)
            tensor = torch.cat([shift, scale])
        for ours, theirs in (*AURA, *AURA_BLOCKS):
            if name.startswith(ours):
                name = theirs + name.removeprefix(ours)
                break
        for ours, theirs in AURA_ADDED:
            name = name.replace(ours, theirs)
        for ours, theirs in AURA_ATTENTION:
            name = name.replace(ours, theirs.format("w1" if single else "w2"))
        name = name.replace("ff_context.", "mlpC.").replace("ff.", "mlp." if single else "mlpX.")
        for ours, theirs in AURA_FEED:
            name = name.replace(f".{ours}.", f".{theirs}.") if "_layers." in name else name
        name = name.replace("norm1_context.linear", "modC.1")
        named[name.replace("norm1.linear", "modCX.1" if single else "modX.1")] = tensor
    return named


def _ltx(weights: Weights) -> Weights:
    named = {}
    for name, tensor in weights.items():
        for ours, theirs in LTX:
            name = name.replace(ours, theirs)
        named["patchify_proj" + name[7:] if name.startswith("proj_in") else name] = tensor
    return named


def _ltx_2(weights: Weights) -> Weights:
    named = {}
    for name, tensor in weights.items():
        for ours, theirs in LTX_2:
            name = name.replace(ours, theirs)
        named[name] = tensor
    return _ltx(named)


def _hunyuan(weights: Weights) -> Weights:
    import torch

    left = dict(weights)
    joined: Weights = {}
    for name in [n for n in left if n.startswith("single_transformer_blocks")]:
        for end in ("weight", "bias"):
            if name.endswith(f"attn.to_q.{end}"):
                start = name.removesuffix(f"attn.to_q.{end}")
                each = [left.pop(f"{start}{n}.{end}") for n in HUNYUAN_SINGLE]
                joined[f"{start}linear1.{end}"] = torch.cat(each)
    for name, end in [(n, e) for n in [*left] for e in ("weight", "bias")]:
        if name.endswith(f"attn.to_q.{end}"):
            start = name.removesuffix(f"to_q.{end}")
            each = torch.cat([left.pop(f"{start}to_{n}.{end}") for n in "qkv"])
            kind = "self_attn" if name.startswith("context_embedder") else "img_attn"
            joined[f"{start.removesuffix('attn.')}{kind}_qkv.{end}"] = each
        if name.endswith(f"attn.add_q_proj.{end}"):
            start = name.removesuffix(f"add_q_proj.{end}")
            each = torch.cat([left.pop(f"{start}add_{n}_proj.{end}") for n in "qkv"])
            joined[f"{start.removesuffix('attn.')}txt_attn_qkv.{end}"] = each
    named = {}
    for name, tensor in (left | joined).items():
        if name.startswith("norm_out.linear"):
            scale, shift = tensor.chunk(2)
            tensor = torch.cat([shift, scale])
        for ours, theirs in HUNYUAN:
            name = re.sub(ours, theirs, name)
        named[name] = tensor
    return named


def _lumina(weights: Weights) -> Weights:
    import torch

    left, named = dict(weights), {}
    for name in weights:
        if name.endswith("attn.to_q.weight"):
            start = name.removesuffix("attn.to_q.weight")
            each = [left.pop(f"{start}attn.to_{n}.weight") for n in "qkv"]
            named[f"{start}attention.qkv.weight"] = torch.cat(each)
    for name, tensor in left.items():
        for ours, theirs in LUMINA:
            name = name.replace(ours, theirs)
        plain = name.startswith("context_refiner")
        for number in "12":
            if f".norm{number}.weight" in name and (plain or number == "2"):
                name = name.replace(f".norm{number}.", f".attention_norm{number}.")
        named[name] = tensor
    return named


def write_ltx_2_file(folder: Path, file: Path) -> Path:
    """An LTX-2 folder's network and autoencoder of videos in one file, and some of what else the
    published ones hold."""
    import torch
    from safetensors.torch import load_file, save_file

    def weights(part: str) -> Weights:
        return load_file(folder / part / "diffusion_pytorch_model.safetensors")

    network = "model.diffusion_model."
    whole = {f"{network}{name}": tensor for name, tensor in _ltx_2(weights("transformer")).items()}
    whole[f"{network}video_embeddings_connector.learnable_registers"] = torch.zeros(500)
    whole["vocoder.conv_pre.weight"] = torch.zeros(3)
    statistics = {"latents_mean": "mean-of-means", "latents_std": "std-of-means"}
    for name, tensor in weights("vae").items():
        if name in statistics:
            name = f"per_channel_statistics.{statistics[name]}"
        for ours, theirs in LTX_2_VAE:
            name = re.sub(ours, theirs, name)
        whole[f"vae.{name}"] = tensor
    whole["vae.per_channel_statistics.channel"] = torch.zeros(4)
    whole["vae.per_channel_statistics.mean-of-stds"] = torch.zeros(4)
    save_file({name: tensor.contiguous() for name, tensor in whole.items()}, file)
    return file


def _wan(weights: Weights) -> Weights:
    named = {}
    for name, tensor in weights.items():
        for ours, theirs in WAN:
            name = re.sub(ours, theirs, name)
        named[name] = tensor
    return named


def _cascade(weights: Weights) -> Weights:
    import torch

    left, named = dict(weights), {}
    for name in weights:
        for end in ("weight", "bias"):
            if name.endswith(f"attention.to_q.{end}"):
                start = name.removesuffix(f"to_q.{end}")
                each = [left.pop(f"{start}to_{n}.{end}") for n in "qkv"]
                named[f"{start}attn.in_proj_{end}"] = torch.cat(each)
    for name, tensor in left.items():
        name = name.replace("attention.to_out.0.", "attention.attn.out_proj.")
        named[name.replace("clip_txt_pooled_mapper.", "clip_mapper.")] = tensor
    return named


def _sana(weights: Weights) -> Weights:
    import torch

    named: Weights = {"pos_embed": torch.zeros(1), "y_embedder.y_embedding": torch.zeros(1)}
    left = dict(weights)
    for name in weights:
        if name.endswith("attn1.to_q.weight"):
            start = name.removesuffix("attn1.to_q.weight")
            each = [left.pop(f"{start}attn1.to_{n}.weight") for n in "qkv"]
            block = start.replace("transformer_blocks", "blocks")
            named[f"{block}attn.qkv.weight"] = torch.cat(each)
            for end in ("weight", "bias"):
                both = [left.pop(f"{start}attn2.to_{n}.{end}") for n in "kv"]
                named[f"{block}cross_attn.kv_linear.{end}"] = torch.cat(both)
    for name, tensor in left.items():
        new = "final_layer.scale_shift_table" if name == "scale_shift_table" else name
        for ours, theirs in SANA:
            new = new.replace(ours, theirs)
        named[new] = tensor
    return named
