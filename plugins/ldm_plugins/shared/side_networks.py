"""The networks that stand beside a model's own and can be named in `control`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CONTROLNET, UNION, ADAPTER = "ControlNetModel", "ControlNetUnionModel", "T2IAdapter"
SD3, FLUX = "SD3ControlNetModel", "FluxControlNetModel"
KNOWN = {
    **{CONTROLNET: "unet", UNION: "unet", ADAPTER: "unet"},
    **{SD3: "transformer", FLUX: "transformer"},
}
"""Their classes, each with the folder of the network that it stands beside."""
MASK = 1
"""So many channels a mask has."""


def masked_channels(config: Mapping[str, Any]) -> int:
    """How many channels such a network reads beside the picture's latents: none, or `MASK`; what
    others are, nobody says."""
    channels: int = config.get("extra_conditioning_channels") or 0
    return channels
