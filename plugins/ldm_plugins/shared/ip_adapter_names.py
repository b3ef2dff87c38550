"""The names of an IP-Adapter's tensors, as Diffusers has them."""

from __future__ import annotations

PROJECTION, LAYERS = "image_proj", "ip_adapter"
PREFIXES = {
    PROJECTION: PROJECTION,
    LAYERS: LAYERS,
    "ip_adapter_proj_model": PROJECTION,
    "double_blocks": LAYERS,
}
"""What a tensor's name begins with, and which half of an adapter it is of: Diffusers' own names,
and those of XLabs's adapters for Flux."""
WORDS = {
    "ip_adapter_double_stream_k_proj": "to_k_ip",
    "ip_adapter_double_stream_v_proj": "to_v_ip",
    "processor.": "",
}


def own_name(name: str) -> str | None:
    """A tensor's name in Diffusers' words, such as ``ip_adapter.0.to_k_ip.weight``; None for one
    of no adapter."""
    prefix, _, rest = name.partition(".")
    if prefix not in PREFIXES:
        return None
    for word, own in WORDS.items():
        rest = rest.replace(word, own)
    return f"{PREFIXES[prefix]}.{rest}"
