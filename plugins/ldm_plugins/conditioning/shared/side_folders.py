"""Folders of ControlNets and T2I-Adapters: found, and seen to fit a network before it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from ldm_core.contracts.family import ModelInfo
from ldm_core.errors import LdmError
from ldm_core.model.component_folder import component_folder
from ldm_core.model.files import class_name, read_json
from ldm_core.model.weight_files import check_weights
from ldm_plugins.conditioning.shared.pictures import mode_of
from ldm_plugins.conditioning.shared.side_choices import SideChoice
from ldm_plugins.conditioning.shared.transformer_side_folders import NETWORKS, misfits_of
from ldm_plugins.shared.config_types import check_component
from ldm_plugins.shared.side_networks import (
    ADAPTER,
    CONTROLNET,
    FLUX,
    KNOWN,
    SD3,
    UNION,
    masked_channels,
)

DEFAULTS = {
    "cross_attention_dim": 1280,
    "block_out_channels": [320, 640, 1280, 1280],
    "layers_per_block": 2,
    "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
    "addition_embed_type": None,
    "addition_time_embed_dim": None,
    "projection_class_embeddings_input_dim": None,
}
"""What a ControlNet must have in common with its network, as Diffusers takes it to be."""
READS = {**dict.fromkeys((CONTROLNET, UNION), "conditioning_channels"), ADAPTER: "in_channels"}
"""Where the config of those that read the picture itself says of how many channels."""
MODES = {FLUX: ("num_mode", None), UNION: ("num_control_type", 6)}
"""Where the config of a network for several kinds of picture says how many, and what it means where
it does not."""


@dataclass(frozen=True)
class SideFolder:
    """A folder that fits the model.

    Attributes:
        cls: one of `KNOWN`.
        mode: of the pictures that it reads, see `pictures.mode_of`.
        unit: both sides of a picture must be multiples of it.
        pictures: so many it reads for each image.
        masked: it reads with its picture where that is to be made anew.
    """

    folder: Path
    cls: str
    mode: str
    unit: int
    pictures: int = 1
    masked: bool = False


def find_side_folder(choice: SideChoice, info: ModelInfo) -> SideFolder:
    """The folder of a side network for a model.

    Raises:
        LdmError: there is none, it is of another class, its weights are missing, cut off or
            pickled, or it was made for another kind of network.
    """
    source = choice.path
    folder = component_folder(source, "control model")
    config = read_json(folder / "config.json")
    check_component(config, folder / "config.json")
    cls = class_name(config)
    if cls not in KNOWN:
        raise LdmError(f"the control model '{source}' is a {cls}; known are {', '.join(KNOWN)}.")
    _check_options(choice, cls, config)
    file = info.folder / KNOWN[cls] / "config.json"
    network = read_json(file) if file.is_file() else {}
    misfits, unit = _misfits(cls, config, network, info)
    if misfits:
        kind = "T2I-Adapter" if cls == ADAPTER else "ControlNet"
        raise LdmError(
            f"the {kind} '{source}' was made for another kind of model than '{info.source}' "
            f"(family {info.family}): {'; '.join(misfits)}."
        )
    check_weights(folder, [""])
    channels = config.get(READS[cls], 3) if cls in READS else info.image_channels
    pictures = len(choice.mode) if isinstance(choice.mode, tuple) else 1
    masked = cls == SD3 and masked_channels(config) > 0
    return SideFolder(folder, cls, mode_of(channels), unit, pictures, masked)


def _check_options(choice: SideChoice, cls: str, config: Mapping[str, Any]) -> None:
    """See that a side network of this class and config has what is chosen."""
    if choice.guess_mode and cls in NETWORKS:
        raise LdmError(f"the control model '{choice.path}' is a {cls}, which has no guess_mode.")
    kinds = config.get(*MODES[cls]) if cls in MODES else None
    if kinds is None and choice.mode is not None:
        raise LdmError(
            f"the control model '{choice.path}' reads one kind of picture, and has no mode."
        )
    if cls == FLUX and isinstance(choice.mode, tuple):
        raise LdmError(
            f"the control model '{choice.path}' is a {cls}, which reads one picture: its mode "
            "should be a number. Name it twice for two kinds."
        )
    each = choice.mode if isinstance(choice.mode, tuple) else (choice.mode,)
    if kinds is not None and not all(mode is not None and 0 <= mode < kinds for mode in each):
        several = ", or a list of such for several pictures" if cls == UNION else ""
        raise LdmError(
            f"the control model '{choice.path}' reads {kinds} kinds of pictures: say which by its "
            f"mode, a number from 0 to {kinds - 1}{several}, as its own page lists them."
        )


def _misfits(
    cls: str, config: Mapping[str, Any], network: Mapping[str, Any], info: ModelInfo
) -> tuple[list[str], int]:
    """In what a side network does not fit, and the unit of its pictures' sides."""
    expected = NETWORKS.get(cls, "UNet2DConditionModel")
    if not network or (cls in NETWORKS and class_name(network) != expected):
        return [f"it is a {cls}, which stands beside a {expected}"], 1
    if cls in NETWORKS:
        return misfits_of(cls, config, network, info)
    return (_adapter if cls == ADAPTER else _controlnet)(config, network, info)


def _controlnet(
    config: Mapping[str, Any], unet: Mapping[str, Any], info: ModelInfo
) -> tuple[list[str], int]:
    """In what a ControlNet does not fit, and the unit of its pictures' sides."""
    misfits = [
        f"its {key} is {theirs} and the network's {ours}"
        for key, default in DEFAULTS.items()
        for theirs, ours in [(_value(config, key, default), _value(unet, key, default))]
        if theirs != ours
    ]
    if config.get("in_channels", 4) != info.latents.channels:
        misfits.append(
            f"it reads latents of {config.get('in_channels', 4)} channels and the model's have "
            f"{info.latents.channels}"
        )
    layers = config.get("conditioning_embedding_out_channels") or (16, 32, 96, 256)
    if (shrinks := 2 ** (len(layers) - 1)) != _stride(info):
        misfits.append(
            f"it shrinks its picture by {shrinks} and the autoencoder by {_stride(info)}"
        )
    return misfits, shrinks


def _stride(info: ModelInfo) -> int:
    """So many pixels a side share one latent, on both sides of a model with a UNet."""
    return info.latents.axis("height").stride


def _value(config: Mapping[str, Any], key: str, default: Any) -> Any:
    value = config.get(key, default)
    return list(value) if isinstance(value, list | tuple) else value


def _adapter(
    config: Mapping[str, Any], unet: Mapping[str, Any], info: ModelInfo
) -> tuple[list[str], int]:
    """In what a T2I-Adapter's features do not fit the network's blocks, each being so many
    channels and so many pixels a side; and the unit of its pictures' sides."""
    channels = list(config.get("channels", [320, 640, 1280, 1280]))
    kind = config.get("adapter_type", "full_adapter")
    unit = int(config.get("downscale_factor", 8))
    if kind == "light_adapter":
        channels = [*channels, channels[-1]]
    shrinks = [1 if kind == "full_adapter_xl" and i != 2 else 2 for i in range(1, len(channels))]
    gives = list(zip(channels, accumulate([unit, *shrinks], int.__mul__), strict=True))

    widths = _value(unet, "block_out_channels", DEFAULTS["block_out_channels"])
    types = _value(unet, "down_block_types", DEFAULTS["down_block_types"])
    last = len(widths) - 1
    takes = [
        # a block without attention adds after it has shrunk
        (width, _stride(info) * 2 ** (i if "CrossAttn" in cls or i == last else i + 1))
        for i, (width, cls) in enumerate(zip(widths, types, strict=True))
    ]
    takes.append((widths[last], _stride(info) * 2**last))
    if gives == takes[: len(gives)]:
        return [], unit
    words = [", ".join(f"{width} at {n} pixels" for width, n in each) for each in (gives, takes)]
    return [f"its features are {words[0]} and the network takes {words[1]}"], unit
