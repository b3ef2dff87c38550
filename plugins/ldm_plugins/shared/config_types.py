"""What kinds of values the keys of a folder's configs have; one of another kind is said at once, by
its file and key, and not by whatever first trips over it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ldm_core.errors import LdmError

MANY = 2**20
"""No size, width or count in a network's config is larger."""
LEVELS = 16
"""So many blocks may halve a picture; real ones have five at most."""
POSITIONS = 2**32
"""Bytes that a table of positions may take, which is computed and lies in no file."""

Kind = tuple[str, Callable[[Any], bool]]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MANY


def _is_none(value: Any) -> bool:
    return type(value) is int and value == 0


def _counts(value: Any, least: int = 1) -> bool:
    """A count, or a list of them, or of such lists."""
    if isinstance(value, list):
        return 0 < len(value) <= MANY and all(_counts(entry, least) for entry in value)
    return _count(value) or (least == 0 and _is_none(value))


def _widths(value: Any) -> bool:
    """A count, or a list of them, or of lists in which null stands for no states."""
    if isinstance(value, list) and value and all(isinstance(entry, list) for entry in value):
        return all(_counts([n for n in entry if n is not None]) for entry in value)
    return _counts(value)


def _listed(kind: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, list) and 0 < len(v) <= LEVELS and all(map(kind, v))


COUNT: Kind = f"a whole number from 1 to {MANY}", _count
COUNTS: Kind = f"a whole number from 1 to {MANY}, or several", _counts
WIDTHS: Kind = f"a whole number from 1 to {MANY}, or several", _widths
LEVEL_COUNTS: Kind = f"a list of 1 to {LEVELS} whole numbers", _listed(_count)
SIDES: Kind = (
    f"a whole number from 1 to {MANY}, or two",
    lambda v: _count(v) or (isinstance(v, list) and len(v) == 2 and all(map(_count, v))),
)
WORD: Kind = "a word", lambda v: isinstance(v, str)
WORDS: Kind = f"a list of 1 to {LEVELS} words", _listed(lambda v: isinstance(v, str))
SWITCH: Kind = "true or false", lambda v: isinstance(v, bool)
SWITCHES: Kind = f"a list of 1 to {LEVELS} times true or false", _listed(SWITCH[1])
NUMBER: Kind = "a finite number", _number
POSITIVE: Kind = "a number above 0", lambda v: _number(v) and v > 0
SHARE: Kind = "a number from 0 to 1", lambda v: _number(v) and 0 <= v <= 1
NUMBERS: Kind = (
    "a list of finite numbers",
    lambda v: isinstance(v, list) and 0 < len(v) <= MANY and all(map(_number, v)),
)
SEVERAL: Kind = "a list", lambda v: isinstance(v, list)
SHARES: Kind = (
    f"a number from 0 to 1, or several of up to {LEVELS}",
    lambda v: SHARE[1](v) or _listed(SHARE[1])(v),
)
HEADS: Kind = (
    f"a list of 1 to {LEVELS} whole numbers, -1 where a level has none",
    _listed(lambda v: _count(v) or (type(v) is int and v == -1)),
)
LAYERS: Kind = "a whole number from 0", lambda v: _is_none(v) or _count(v)
DEPTHS: Kind = f"a whole number from 0 to {MANY}, or several", lambda v: _counts(v, least=0)

COMPONENT: Mapping[str, Kind] = {
    **dict.fromkeys(("in_channels", "latent_channels", "hidden_size", "z_dim"), COUNT),
    **dict.fromkeys(("d_model", "projection_dim", "vocab_size", "num_class_embeds"), COUNT),
    **dict.fromkeys(("out_channels", "vq_embed_dim"), COUNT),
    **dict.fromkeys(("joint_attention_dim", "pooled_projection_dim", "pos_embed_max_size"), COUNT),
    **dict.fromkeys(("addition_time_embed_dim", "time_cond_proj_dim"), COUNT),
    **dict.fromkeys(("projection_class_embeddings_input_dim", "num_embeds_ada_norm"), COUNT),
    **dict.fromkeys(("max_position_embeddings", "image_size", "norm_num_groups"), COUNT),
    **dict.fromkeys(("num_layers", "num_single_layers", "num_hidden_layers"), LAYERS),
    **dict.fromkeys(("attention_head_dim", "layers_per_block"), COUNTS),
    "cross_attention_dim": WIDTHS,
    **dict.fromkeys(("num_attention_heads", "patch_size", "caption_channels"), COUNTS),
    **dict.fromkeys(("redux_dim", "txt_in_features", "timestep_guidance_channels"), COUNT),
    **dict.fromkeys(("approximator_num_channels", "approximator_hidden_dim"), COUNT),
    "approximator_layers": LAYERS,
    "batch_norm_eps": POSITIVE,
    **dict.fromkeys(("rope_max_seq_len", "image_dim", "text_dim", "added_kv_proj_dim"), COUNT),
    **dict.fromkeys(("scale_factor_temporal", "scale_factor_spatial", "sample_frames"), COUNT),
    **dict.fromkeys(("sample_height", "sample_width", "temporal_compression_ratio"), COUNT),
    **dict.fromkeys(("patch_size_t", "text_embed_dim", "max_text_seq_length"), COUNT),
    **dict.fromkeys(("pos_embed_seq_len", "base_dim", "num_res_blocks"), COUNT),
    "dim_mult": LEVEL_COUNTS,
    "temperal_downsample": SWITCHES,
    "transformer_layers_per_block": DEPTHS,  # 0 where a block has no attention
    **dict.fromkeys(("block_out_channels", "channels"), LEVEL_COUNTS),
    **dict.fromkeys(("down_block_types", "up_block_types"), WORDS),
    **dict.fromkeys(("class_embed_type", "addition_embed_type", "norm_type"), WORD),
    **dict.fromkeys(("guidance_embeds", "force_upcast", "use_attention_mask"), SWITCH),
    "sample_size": SIDES,
    **dict.fromkeys(("conditioning_channels", "downscale_factor"), COUNT),
    **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), LAYERS),
    "conditioning_embedding_out_channels": LEVEL_COUNTS,
    "adapter_type": WORD,
    "architectures": WORDS,
    "axes_dims_rope": LEVEL_COUNTS,
    "downsample_padding": ("0 or 1", lambda v: type(v) is int and v in (0, 1)),
    **dict.fromkeys(("norm_eps", "layer_norm_eps", "layer_norm_epsilon"), POSITIVE),
    **dict.fromkeys(("timestep_scale", "timestep_scale_multiplier", "scaling_factor"), POSITIVE),
    **dict.fromkeys(("shift_factor", "min_value", "max_value"), NUMBER),
    **dict.fromkeys(("clip_text_in_channels", "clip_text_pooled_in_channels"), COUNT),
    **dict.fromkeys(("clip_image_in_channels", "effnet_in_channels"), COUNT),
    "levels": (f"a whole number from 1 to {LEVELS}", lambda v: _count(v) and v <= LEVELS),
    "up_down_scale_factor": COUNT,
    "latents_mean": NUMBERS,
    "latents_std": NUMBERS,
}
"""Of a network, autoencoder or text encoder. A key may also be null, which is its default."""
BY_LEVEL: Mapping[str, Mapping[str, Kind]] = {
    "StableCascadeUNet": {"num_attention_heads": HEADS, "dropout": SHARES},
}
"""Of classes that say something of each level, and others of all at once."""


def check_component(config: Mapping[str, Any], file: Path) -> None:
    """See that the values of a component's config are of their kinds.

    Raises:
        LdmError: one is not.
    """
    shares = {key: SHARE for key in config if "dropout" in key and not key.endswith("_fusion")}
    own = BY_LEVEL.get(str(config.get("_class_name")), {})
    check_kinds(config, {**COMPONENT, **shares, **own}, file)
    _check_positions(config, file)


def check_kinds(config: Mapping[str, Any], kinds: Mapping[str, Kind], file: Path) -> None:
    """See that the values of some keys are of their kinds; null is of any.

    Raises:
        LdmError: one is not.
    """
    for key, (what, fits) in kinds.items():
        value = config.get(key)
        if value is not None and not fits(value):
            words = repr(value)
            short = words if len(words) <= 60 else f"{words[:57]}..."
            raise LdmError(f"{file}: {key} should be {what}, not {short}.")


def _check_positions(config: Mapping[str, Any], file: Path) -> None:
    """See that a transformer's table of positions, one for each patch, can be computed."""
    keys = ("num_attention_heads", "attention_head_dim", "patch_size")
    heads, width, patch = (config[key] if _count(config.get(key)) else 0 for key in keys)
    if not (heads and width and patch):
        return
    sample = config.get("sample_size") or 1
    side = max(sample) if isinstance(sample, list) else sample
    patches = max(side // patch, config.get("pos_embed_max_size") or 1)
    if patches**2 * heads * width * 8 > POSITIONS:
        raise LdmError(
            f"{file} makes {patches} x {patches} patches of {heads} x {width} numbers, which are "
            "more than any picture has."
        )
