"""What the config of an autoencoder says of its latents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TINY_BLOCKS = (1, 3, 3, 3)
"""Of an AutoencoderTiny, where its config does not say."""
WIDTHS = ("encoder_block_out_channels", "down_block_out_channels", "block_out_channels")
"""The channels of each level of the encoder, by the first of these names that a config has."""


def latent_channels(config: Mapping[str, Any], codec: str) -> int:
    """Of the latents; of a vector-quantised autoencoder's, those of its codes.

    Args:
        codec: the encoder and decoder that go with the autoencoder's class.
    """
    plain = config.get("z_dim") or config.get("latent_channels", 3 if codec == "vq" else 4)
    return int(config.get("vq_embed_dim") or plain)


def factor(config: Mapping[str, Any], codec: str) -> int:
    """By how much the autoencoder shrinks each side."""
    if "temperal_downsample" in config:  # which is how these classes spell it
        return int(2 ** len(config["temperal_downsample"]))
    if codec == "autoencoder_tiny":
        return int(2 ** (len(config.get("num_encoder_blocks", TINY_BLOCKS)) - 1))
    if codec == "paella":
        return int(config.get("up_down_scale_factor", 2) * 2 ** (config.get("levels", 2) - 1))
    widths = next((config[name] for name in WIDTHS if name in config), [64])
    return int(2 ** (len(widths) - 1))
