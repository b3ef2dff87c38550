"""Folders of ControlNets and T2I-Adapters: found, and seen to fit a network before it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from ldm_core.contracts.family import ModelInfo
from ldm_core.errors import LdmError, did_you_mean
from ldm_core.model.files import class_name, read_json
from ldm_core.model.weight_files import check_weights
from ldm_core.values import brief, is_number
from ldm_plugins.conditioning.shared.pictures import mode_of
from ldm_plugins.shared.component_folder import component_folder
from ldm_plugins.shared.config_types import check_component

CONTROLNET, ADAPTER = "ControlNetModel", "T2IAdapter"
OPTIONS = {"path": None, "weight": 1.0, "start": 0.0, "end": 1.0, "guess_mode": False}
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


@dataclass(frozen=True)
class SideChoice:
    """A side network as a person chose it.

    Attributes:
        path: its folder or Hub id.
        weight: factor of what it gives.
        start, end: it is asked between these shares of the grid's steps.
        guess_mode: speak to the positive branch alone, and less in the outer layers.
    """

    path: str
    weight: float
    start: float
    end: float
    guess_mode: bool

    def covers(self, step: int, steps: int) -> bool:
        """Whether it is asked in a step, the first being 0, of so many."""
        return step / steps >= self.start and (step + 1) / steps <= self.end


@dataclass(frozen=True)
class SideFolder:
    """A folder that fits the model.

    Attributes:
        cls: ``ControlNetModel`` or ``T2IAdapter``.
        mode: of the pictures that it reads, see `pictures.mode_of`.
        unit: both sides of a picture must be multiples of it.
    """

    folder: Path
    cls: str
    mode: str
    unit: int


def read_choices(entries: Sequence[Any]) -> tuple[SideChoice, ...]:
    """The entries of the option ``models``.

    Raises:
        LdmError: there is none, or one is no path or table, or has a value that cannot be.
    """
    if not entries:
        raise LdmError(
            "the conditioning 'control' has no models.",
            'name one: { name = "control", models = ["FOLDER"] }',
        )
    return tuple(_read_choice(entry) for entry in entries)


def _read_choice(entry: Any) -> SideChoice:
    table = {"path": entry} if isinstance(entry, str) else dict(entry)
    for key in table:
        if key not in OPTIONS:
            raise LdmError(
                f"a control model has no '{key}'.{did_you_mean(key, OPTIONS)} "
                f"It has {', '.join(OPTIONS)}."
            )
    if not isinstance(table.get("path"), str):
        raise LdmError(
            f"a control model needs the path of its folder, and {brief(entry)} has none."
        )
    path = table["path"]
    numbers = {}
    for key in ("weight", "start", "end"):
        value: Any = table.get(key, OPTIONS[key])
        if not is_number(value):
            raise LdmError(
                f"the {key} of the control model '{path}' should be a number, not {brief(value)}."
            )
        numbers[key] = float(value)
    if not 0 <= numbers["start"] < numbers["end"] <= 1:
        raise LdmError(
            f"the control model '{path}' should start before it ends, both being shares of the "
            f"steps from 0 to 1, not start {numbers['start']} and end {numbers['end']}."
        )
    guess = table.get("guess_mode", False)
    if not isinstance(guess, bool):
        raise LdmError(
            f"the guess_mode of the control model '{path}' should be true or false, not "
            f"{brief(guess)}."
        )
    return SideChoice(path, guess_mode=guess, **numbers)


def find_side_folder(source: str, info: ModelInfo) -> SideFolder:
    """The folder of a side network for a model with a UNet2DConditionModel.

    Raises:
        LdmError: there is none, it is of another class, its weights are missing, cut off or
            pickled, or it was made for another kind of network.
    """
    folder = component_folder(source, "control model")
    config = read_json(folder / "config.json")
    check_component(config, folder / "config.json")
    cls = class_name(config)
    if cls not in (CONTROLNET, ADAPTER):
        raise LdmError(
            f"the control model '{source}' is a {cls}; known are {CONTROLNET} and {ADAPTER}."
        )
    unet = read_json(info.folder / "unet" / "config.json")
    misfits, unit = (_controlnet if cls == CONTROLNET else _adapter)(config, unet, info)
    if misfits:
        kind = "ControlNet" if cls == CONTROLNET else "T2I-Adapter"
        raise LdmError(
            f"the {kind} '{source}' was made for another kind of model than '{info.source}' "
            f"(family {info.family}): {'; '.join(misfits)}."
        )
    check_weights(folder, [""])
    channels = config.get("conditioning_channels" if cls == CONTROLNET else "in_channels", 3)
    return SideFolder(folder, cls, mode_of(channels), unit)


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
