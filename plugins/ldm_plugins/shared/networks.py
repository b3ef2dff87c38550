"""What a model's folder says of its network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ldm_core.contracts import ModelInfo
from ldm_core.model.files import read_index, read_json

FOLDERS = ("transformer", "unet", "decoder")
"""Where the config of a model's network lies."""


def network_config(info: ModelInfo) -> Mapping[str, Any] | None:
    """The config of a model's network; None where its folder has none by a usual name."""
    paths = (info.folder / name / "config.json" for name in FOLDERS)
    return next((read_json(path) for path in paths if path.is_file()), None)


def part_classes(info: ModelInfo) -> list[str]:
    """The classes of a model's components with weights; of a family that does not say them, all of
    those in the folder's index."""
    index = [] if info.parts else read_index(info.folder).values()
    return [p.cls for p in info.parts] or [str(e[1]) for e in index if isinstance(e, list)]


def is_unet(config: Mapping[str, Any]) -> bool:
    """Whether a network's config is a UNet's."""
    return "down_block_types" in config
