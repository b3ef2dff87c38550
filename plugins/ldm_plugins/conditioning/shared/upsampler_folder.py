"""Folders of networks that make latents larger: found, and seen to fit a model."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from ldm_core.contracts import ModelInfo
from ldm_core.errors import LdmError
from ldm_core.model.component_folder import component_folder
from ldm_core.model.configs import read_config
from ldm_core.model.files import class_name
from ldm_core.model.weight_files import check_weights
from ldm_plugins.shared.config_types import check_component

CLASS = "LTX2LatentUpsamplerModel"
CHANNELS = 128  # of the latents, where a config does not say
SCALES = {0.75: Fraction(3, 4), 1.5: Fraction(3, 2), 2.0: Fraction(2), 4.0: Fraction(4)}
"""How many times as wide and high the class can make them."""


def find_upsampler(source: str, info: ModelInfo) -> tuple[Path, Fraction]:
    """The folder of an upsampler for a model's latents, and how many times as wide and high it
    makes them.

    Raises:
        LdmError: it is another, its weights are missing, cut off or pickled, it does not fit the
            latents, or it changes their time.
    """
    folder = component_folder(source, "latent upsampler")
    config = read_config(folder)
    check_component(config, folder / "config.json")
    if (cls := class_name(config)) != CLASS:
        raise LdmError(f"the latent upsampler '{source}' is a {cls}, and should be an {CLASS}.")
    channels = config.get("in_channels", CHANNELS)
    if channels != info.latents.channels:
        raise LdmError(
            f"the latent upsampler '{source}' is for latents of {channels} channels, and those of "
            f"'{info.source}' (family {info.family}) have {info.latents.channels}."
        )
    if config.get("temporal_upsample", False) or not config.get("spatial_upsample", True):
        raise LdmError(
            f"the latent upsampler '{source}' makes more frames of a video; known are those that "
            "make its sides larger alone."
        )
    rational = config.get("use_rational_resampler", True)
    scale = config.get("rational_spatial_scale", 2.0) if rational else 2.0
    if scale not in SCALES:
        raise LdmError(
            f"the latent upsampler '{source}' says rational_spatial_scale = {scale!r}; its class "
            f"knows {', '.join(map(str, SCALES))}."
        )
    check_weights(folder, [""])
    return folder, SCALES[scale]
