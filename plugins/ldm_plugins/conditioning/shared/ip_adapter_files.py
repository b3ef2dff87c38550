"""IP-Adapter files and image encoders: found, and seen to fit a network before it is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ldm_core.contracts.family import ModelInfo
from ldm_core.contracts.files import to_read
from ldm_core.errors import LdmError
from ldm_core.model.files import (
    CONVERT,
    PICKLE_RUNS,
    PICKLED,
    read_json,
)
from ldm_core.model.from_folder import PICTURES
from ldm_core.model.quantised import check_unscaled
from ldm_core.model.safetensors_header import read_header
from ldm_core.model.weight_files import check_weights
from ldm_plugins.conditioning.shared.ip_adapter_layouts import (
    LAYOUTS,
    WHOLE,
    Layout,
    Reads,
    Scale,
    Shapes,
    layers,
)
from ldm_plugins.shared.config_types import check_component
from ldm_plugins.shared.ip_adapter_names import LAYERS, PROJECTION, own_name
from ldm_plugins.shared.networks import network_config

BLOCKS = "transformer_blocks"
"""The first list of a transformer's blocks."""


@dataclass(frozen=True)
class AdapterFile:
    """An IP-Adapter that fits the model, and the image encoder that fits it.

    Attributes:
        pooled: it reads one projected vector a picture; otherwise the encoder's states.
        width: of a vector or a state.
        several: an image may look at several pictures, and have several adapters.
        masks: a picture may hold for a part of the image.
        scale: the factor of what it adds, or several of them.
        blocks: in the self-attention of how many of a transformer's first blocks its layers lie.
    """

    file: Path
    encoder: Path
    pooled: bool
    width: int
    several: bool
    masks: bool
    scale: Scale
    blocks: int


def find_adapter(
    source: str, image_encoder: str, scale: Scale | None, info: ModelInfo
) -> AdapterFile:
    """The adapter for a model.

    Args:
        scale: None for the one that Diffusers takes where none is set.
    Raises:
        LdmError: a file or folder is missing, cut off or pickled, or is of another kind or size;
            or the network takes no such scale.
    """
    network = network_config(info) or {}
    layout = LAYOUTS.get(str(network.get("_class_name")))
    if layout is None:
        raise LdmError(
            f"image_prompt knows the layers of {', '.join(LAYOUTS)}, and the network of "
            f"'{info.source}' is none of them."
        )
    file, shapes = _read(source)
    reads = layout.reads(source, shapes)
    if misfit := layout.misfit(shapes, network):
        raise LdmError(
            f"the IP-Adapter '{source}' was made for another kind of model than '{info.source}' "
            f"(family {info.family}): {misfit}."
        )
    scale = layout.scale if scale is None else scale
    layout.check_scale(scale, network)
    encoder = _find_encoder(source, image_encoder, layout, reads)
    blocks = layout.blocks(network)
    return AdapterFile(
        file, encoder, reads.pooled, reads.width, layout.several, layout.masks, scale, blocks
    )


def check_attention(adapter: AdapterFile, altered: Sequence[int | str]) -> None:
    """See that no layer of an adapter lies where a guidance asks for another self-attention.

    Args:
        altered: see `ldm_core.contracts.Guidance.altered_attention`.
    Raises:
        LdmError: one does.
    """
    for layer in altered:
        numbered = isinstance(layer, int) and layer < adapter.blocks
        if numbered or (adapter.blocks and str(layer).partition(".")[0] == BLOCKS):
            raise LdmError(
                f"the guidance asks a network whose self-attention is another in {layer!r}, where "
                "the layers of the IP-Adapter lie, and what those would see then is not known.",
                "choose other layers for it, or another guidance.",
            )


def _read(source: str) -> tuple[Path, Shapes]:
    """An adapter's file, and the shapes of its tensors by Diffusers' names."""
    file = to_read(source)
    if file.suffix in PICKLED:
        raise LdmError(f"the IP-Adapter '{source}' is a pickled file, {PICKLE_RUNS}", CONVERT)
    if file.is_dir():
        raise LdmError(f"the IP-Adapter '{source}' is a folder; name the .safetensors file in it.")
    if not file.is_file():
        raise LdmError(f"there is no IP-Adapter file '{source}'.")
    header = read_header(file)
    try:
        check_unscaled(header)
    except LdmError as error:
        raise LdmError(f"the IP-Adapter '{source}': {error.message}", error.hint) from None
    shapes = {own_name(name) or name: shape for name, shape in header.shapes.items()}
    if not layers(shapes) or not any(name.startswith(f"{PROJECTION}.") for name in shapes):
        raise LdmError(
            f"'{source}' holds no IP-Adapter: its tensors should be named {LAYERS}.* and "
            f"{PROJECTION}.*."
        )
    return file.resolve(), shapes


def _find_encoder(source: str, image_encoder: str, layout: Layout, reads: Reads) -> Path:
    """The folder of an adapter's image encoder, seen to give what it reads."""
    folder = to_read(image_encoder)
    if not folder.is_dir():
        raise LdmError(f"there is no folder '{image_encoder}' with an image encoder.")
    config = read_json(folder / "config.json")
    check_component(config, folder / "config.json")
    named = config.get("architectures") or []
    whole = WHOLE[layout.encoder]
    if layout.encoder not in named and whole not in named:
        raise LdmError(
            f"the image_encoder '{image_encoder}' should be a {layout.encoder} or a {whole}, "
            f"not {', '.join(named) or 'nothing'}."
        )
    if layout.encoder not in named:
        tower = config.get(PICTURES)  # what lies beside it is not read
        if not isinstance(tower, dict):
            raise LdmError(f"{folder / 'config.json'} should have a table {PICTURES}.")
        config = tower
        check_component(config, folder / "config.json")
    gives = config.get("projection_dim", 512) if reads.pooled else config.get("hidden_size", 768)
    if gives != reads.width:
        raise LdmError(
            f"the IP-Adapter '{source}' reads {'vectors' if reads.pooled else 'states'} of width "
            f"{reads.width} and the image_encoder '{image_encoder}' gives {gives}."
        )
    check_weights(folder, [""])
    return folder.resolve()
