"""What the shapes of a single file's tensors tell of its network, to be held against a config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Shapes = Mapping[str, tuple[int, ...]]

NETWORK = "model.diffusion_model."
"""How the names of a network's weights begin in many files."""


def _blocks(shapes: Shapes, kind: str) -> int:
    """How many blocks of a kind there are, numbered after its name."""
    cut = (name.removeprefix(NETWORK).split(".") for name in shapes)
    return len({parts[1] for parts in cut if parts[0] == kind and len(parts) > 1})


def _context_width(shapes: Shapes) -> int | None:
    ends = f"{NETWORK}input_blocks.", "attn2.to_k.weight"
    each = (s for n, s in shapes.items() if n.startswith(ends[0]) and n.endswith(ends[1]))
    return next(map(_inputs, each), None)


def _caption_width(shapes: Shapes) -> int | None:
    name = "cap_embedder.1.weight"
    return _inputs(shapes.get(f"{NETWORK}{name}", shapes.get(name, ())))


def _inputs(shape: tuple[int, ...]) -> int | None:
    """How many a layer's weights take in; None of what is no layer's."""
    return shape[1] if len(shape) > 1 else None


def _guided(shapes: Shapes) -> bool:
    return any(name.removeprefix(NETWORK).startswith("guidance_in.") for name in shapes)


def _token_width(shapes: Shapes) -> int | None:
    names = (f"{NETWORK}img_in.weight", "img_in.weight")
    return next((_inputs(shapes[name]) for name in names if name in shapes), None)


FACTS: Mapping[str, Mapping[str, tuple[Any, Callable[[Shapes], Any]]]] = {
    "AuraFlowTransformer2DModel": {
        "num_mmdit_layers": (4, lambda s: _blocks(s, "double_layers")),
        "num_single_dit_layers": (32, lambda s: _blocks(s, "single_layers")),
    },
    "HiDreamImageTransformer2DModel": {
        "num_layers": (16, lambda s: _blocks(s, "double_stream_blocks")),
        "num_single_layers": (32, lambda s: _blocks(s, "single_stream_blocks")),
    },
    "LTXVideoTransformer3DModel": {"num_layers": (28, lambda s: _blocks(s, "transformer_blocks"))},
    "HunyuanVideoTransformer3DModel": {
        "num_layers": (20, lambda s: _blocks(s, "double_blocks")),
        "num_single_layers": (40, lambda s: _blocks(s, "single_blocks")),
        "guidance_embeds": (True, _guided),
        "in_channels": (16, lambda s: _inputs(s.get("img_in.proj.weight", ()))),
    },
    "LTX2VideoTransformer3DModel": {"num_layers": (48, lambda s: _blocks(s, "transformer_blocks"))},
    "Lumina2Transformer2DModel": {
        "num_layers": (26, lambda s: _blocks(s, "layers")),
        "cap_feat_dim": (1024, _caption_width),
    },
    "SanaTransformer2DModel": {"num_layers": (20, lambda s: _blocks(s, "blocks"))},
    "WanTransformer3DModel": {"num_layers": (40, lambda s: _blocks(s, "blocks"))},
    "Krea2Transformer2DModel": {"num_layers": (28, lambda s: _blocks(s, "blocks"))},
    "QwenImageTransformer2DModel": {"num_layers": (60, lambda s: _blocks(s, "transformer_blocks"))},
    "UNet2DConditionModel": {
        "in_channels": (4, lambda s: _inputs(s.get(f"{NETWORK}input_blocks.0.0.weight", ()))),
        "cross_attention_dim": (1280, _context_width),
        "addition_embed_type": (
            None,
            lambda s: "text_time" if f"{NETWORK}label_emb.0.0.weight" in s else None,
        ),
    },
    "SD3Transformer2DModel": {"num_layers": (18, lambda s: _blocks(s, "joint_blocks"))},
    "FluxTransformer2DModel": {
        "num_layers": (19, lambda s: _blocks(s, "double_blocks")),
        "num_single_layers": (38, lambda s: _blocks(s, "single_blocks")),
        "guidance_embeds": (False, _guided),
        "in_channels": (64, _token_width),
    },
    "ChromaTransformer2DModel": {
        "num_layers": (19, lambda s: _blocks(s, "double_blocks")),
        "num_single_layers": (38, lambda s: _blocks(s, "single_blocks")),
    },
    "Flux2Transformer2DModel": {
        "num_layers": (8, lambda s: _blocks(s, "double_blocks")),
        "num_single_layers": (48, lambda s: _blocks(s, "single_blocks")),
        "guidance_embeds": (True, _guided),
        "in_channels": (128, _token_width),
    },
    "ZImageTransformer2DModel": {
        "n_layers": (30, lambda s: _blocks(s, "layers")),
        "cap_feat_dim": (2560, _caption_width),
    },
}
"""What the shapes tell of a network: keys of its config, each with the class's default."""
