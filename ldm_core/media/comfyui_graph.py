"""ComfyUI's graph in a picture, where it is plain: one KSampler with two texts and an empty latent.

Any other graph is a program of its own, and is told apart, no more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ldm_core.media.json_text import read_json_text
from ldm_core.media.recorded import Recorded, real, whole

KEYWORDS = ("prompt", "workflow")
PROGRAM = "ComfyUI"
LATENTS = ("EmptyLatentImage", "EmptySD3LatentImage")
LOADERS = ("CheckpointLoaderSimple", "UNETLoader")
VAE = "VAELoader"
"""It names another VAE than the model's."""
CLIP_LAYER = "CLIPSetLastLayer"
"""It says at which layer, counted from -1, the text encoders are read."""
MOST = 2000
"""Nodes of a graph that is looked through."""


def read_graph(text: str | None) -> Recorded:
    """What a plain graph says.

    Args:
        text: the JSON under ``prompt``; None where a picture has none.
    """
    try:
        nodes = read_json_text(text or "null")
    except ValueError:
        nodes = None
    if not isinstance(nodes, dict) or len(nodes) > MOST:
        return Recorded(PROGRAM, unread="its workflow is not read.")
    samplers = [node for node in nodes.values() if _class(node).startswith("KSampler")]
    if len(samplers) != 1 or _class(samplers[0]) != "KSampler":
        return Recorded(
            PROGRAM, unread="its workflow has another form than one KSampler, and is not read."
        )
    inputs = _inputs(samplers[0])
    positive, negative, latent, model = (
        _inputs_of(nodes, inputs.get(name), classes)
        for name, classes in {
            "positive": ("CLIPTextEncode",),
            "negative": ("CLIPTextEncode",),
            "latent_image": LATENTS,
            "model": LOADERS,
        }.items()
    )
    prompt = _text(positive.get("text"))
    if prompt is None:
        return Recorded(PROGRAM, unread="its prompt comes from other nodes, and is not read.")
    denoise = real(inputs.get("denoise"))
    more = {} if denoise in (None, 1.0) else {"denoise": str(denoise)}
    loaded = [_text(_inputs(n).get("vae_name")) for n in nodes.values() if _class(n) == VAE]
    if vaes := ", ".join(sorted(filter(None, loaded))):
        more["vae_name"] = vaes
    layers = [_inputs_of(nodes, one.get("clip"), (CLIP_LAYER,)) for one in (positive, negative)]
    stops = {_layer(one.get("stop_at_clip_layer")) for one in layers}
    skip = stops.pop() if len(stops) == 1 else None
    read = {VAE, *LATENTS, *LOADERS, *([CLIP_LAYER] if skip is not None else [])}
    others = sorted({_class(node) for node in nodes.values()} - {*PLAIN, *read})
    return Recorded(
        PROGRAM,
        prompt,
        _text(negative.get("text")) or None,
        whole(inputs.get("seed")),
        whole(inputs.get("steps"), 1),
        real(inputs.get("cfg")),
        whole(latent.get("width"), 1),
        whole(latent.get("height"), 1),
        _text(inputs.get("sampler_name")),
        _text(inputs.get("scheduler")),
        _text(model.get("ckpt_name")) or _text(model.get("unet_name")),
        {**more, **({"other nodes": ", ".join(filter(None, others))} if any(others) else {})},
        clip_skip=skip,
    )


PLAIN = ("KSampler", "CLIPTextEncode", "VAEDecode", "SaveImage", "PreviewImage")
"""Nodes that say nothing more."""


def _class(node: Any) -> str:
    name = node.get("class_type") if isinstance(node, Mapping) else None
    return name if isinstance(name, str) else ""


def _inputs(node: Any) -> Mapping[str, Any]:
    inputs = node.get("inputs") if isinstance(node, Mapping) else None
    return inputs if isinstance(inputs, Mapping) else {}


def _inputs_of(nodes: Mapping[str, Any], link: Any, classes: tuple[str, ...]) -> Mapping[str, Any]:
    """The inputs of the node that a link leads to, where it is of these classes."""
    key = link[0] if isinstance(link, list) and link else None
    node = nodes.get(key) if isinstance(key, str) else None
    return _inputs(node) if _class(node) in classes else {}


def _layer(value: Any) -> int | None:
    """A layer counted from the end, from 1, of one that is counted from -1."""
    whole_one = isinstance(value, int) and not isinstance(value, bool)
    return whole(-value, 1) if whole_one else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def is_json(text: str | None) -> bool:
    """Whether a text is a table in JSON, such as a graph."""
    try:
        return isinstance(json.loads(text or ""), dict)
    except (ValueError, RecursionError):
        return False
