"""IP-Adapter files and image encoders: found, and seen to fit a network before it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ldm_core.contracts.family import ModelInfo
from ldm_core.contracts.files import to_read
from ldm_core.errors import LdmError
from ldm_core.model.files import (
    CONVERT,
    PICKLE_RUNS,
    PICKLED,
    check_safetensors,
    read_json,
)
from ldm_core.model.weight_files import check_weights
from ldm_plugins.shared.config_types import check_component

Shapes = Mapping[str, tuple[int, ...]]
ENCODER = "CLIPVisionModelWithProjection"


@dataclass(frozen=True)
class AdapterFile:
    """An IP-Adapter that fits the model, and the image encoder that fits it.

    Attributes:
        pooled: it reads one projected vector a picture; otherwise the encoder's states.
    """

    file: Path
    encoder: Path
    pooled: bool


def find_adapter(source: str, image_encoder: str, info: ModelInfo) -> AdapterFile:
    """The adapter for a model with a UNet2DConditionModel.

    Raises:
        LdmError: a file or folder is missing, cut off or pickled, or is of another kind or size.
    """
    file = to_read(source)
    if file.suffix in PICKLED:
        raise LdmError(f"the IP-Adapter '{source}' is a pickled file, {PICKLE_RUNS}", CONVERT)
    if file.is_dir():
        raise LdmError(f"the IP-Adapter '{source}' is a folder; name the .safetensors file in it.")
    if not file.is_file():
        raise LdmError(f"there is no IP-Adapter file '{source}'.")
    shapes = check_safetensors(file)
    own = layers(shapes)
    if not own or not any(name.startswith("image_proj.") for name in shapes):
        raise LdmError(
            f"'{source}' holds no IP-Adapter: its tensors should be named ip_adapter.* and "
            "image_proj.*."
        )
    pooled, width = _reads(source, shapes)
    unet = read_json(info.folder / "unet" / "config.json")
    wanted = cross_attentions(unet)
    if own != wanted:
        raise LdmError(
            f"the IP-Adapter '{source}' was made for another kind of model than '{info.source}' "
            f"(family {info.family}): it has {_in_words(own)}, and the network's cross-attention "
            f"has {_in_words(wanted)}."
        )
    folder = to_read(image_encoder)
    if not folder.is_dir():
        raise LdmError(f"there is no folder '{image_encoder}' with an image encoder.")
    config = read_json(folder / "config.json")
    check_component(config, folder / "config.json")
    if ENCODER not in (config.get("architectures") or []):
        other = ", ".join(config.get("architectures") or []) or "nothing"
        raise LdmError(f"the image_encoder '{image_encoder}' should be a {ENCODER}, not {other}.")
    gives = config.get("projection_dim", 512) if pooled else config.get("hidden_size", 768)
    if gives != width:
        raise LdmError(
            f"the IP-Adapter '{source}' reads {'vectors' if pooled else 'states'} of width {width} "
            f"and the image_encoder '{image_encoder}' gives {gives}."
        )
    check_weights(folder, [""])
    return AdapterFile(file.resolve(), folder.resolve(), pooled)


def _reads(source: str, shapes: Shapes) -> tuple[bool, int]:
    """Whether an adapter reads one vector a picture, and the width of what it reads."""
    kinds = {"proj.weight": True, "proj_in.weight": False}
    # a face adapter's own projection, which Diffusers reads too, takes no picture
    names = [*kinds, *(["proj.0.weight"] if "image_proj.proj.3.weight" in shapes else [])]
    for name in names:
        if (shape := shapes.get(f"image_proj.{name}")) is not None:
            if len(shape) != 2:
                raise LdmError(
                    f"the IP-Adapter '{source}' is damaged: its image_proj.{name} should be a "
                    f"matrix, and is of shape {list(shape)}."
                )
            return kinds.get(name, False), shape[1]
    raise LdmError(
        f"the IP-Adapter '{source}' reads no pictures as CLIP sees them; FaceID adapters, which "
        "read what a face recognition network says, are not known here."
    )


def layers(shapes: Shapes) -> list[tuple[int, ...]]:
    """The (width, width of the text) of an adapter's layers, in order."""
    suffix = ".to_k_ip.weight"
    named = {
        name.removeprefix("ip_adapter.").removesuffix(suffix): shape
        for name, shape in shapes.items()
        if name.startswith("ip_adapter.") and name.endswith(suffix)
    }
    return [named[key] for key in sorted((k for k in named if k.isdecimal()), key=int)]


def cross_attentions(unet: Mapping[str, Any]) -> list[tuple[int, ...]]:
    """The (width, width of the text) of a network's cross-attention layers, in Diffusers' order:
    encoder, decoder, then between them.

    Args:
        unet: the config of a UNet2DConditionModel.
    """
    widths = list(unet.get("block_out_channels", [320, 640, 1280, 1280]))
    count, text = len(widths), unet.get("cross_attention_dim", 1280)
    down = unet.get("down_block_types") or [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"]
    up = unet.get("up_block_types") or ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3]
    resnets = _each(unet.get("layers_per_block", 2), count)
    deep = _each(unet.get("transformer_layers_per_block", 1), count)
    back = unet.get("reverse_transformer_layers_per_block") or deep[::-1]
    layer_widths: list[int] = []
    for cls, width, several, depth in zip(down, widths, resnets, deep, strict=True):
        layer_widths += [width] * (_sum(depth, several) if "CrossAttn" in cls else 0)
    for cls, width, several, depth in zip(up, widths[::-1], resnets[::-1], back, strict=True):
        layer_widths += [width] * (_sum(depth, several + 1) if "CrossAttn" in cls else 0)
    if "CrossAttn" in (unet.get("mid_block_type", "UNetMidBlock2DCrossAttn") or ""):
        layer_widths += [widths[-1]] * _sum(deep[-1], 1)
    return [(width, text) for width in layer_widths]


def _each(value: Any, count: int) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value] * count


def _sum(depth: Any, several: int) -> int:
    """Transformer layers in so many of a block's transformers, or as a list says of each."""
    return sum(depth[:several]) if isinstance(depth, list | tuple) else depth * several


def _in_words(own: list[tuple[int, ...]]) -> str:
    widths = " and ".join(str(width) for width in sorted({shape[-1] for shape in own}))
    return f"{len(own)} layers of {sum(s[0] for s in own)} values for texts of width {widths}"
