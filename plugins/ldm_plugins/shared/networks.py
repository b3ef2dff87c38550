"""What a model's folder says of its network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ldm_core.contracts import ModelInfo
from ldm_core.model.files import read_json

FOLDERS = ("transformer", "unet")
"""Where the config of a model's network lies."""


def network_config(info: ModelInfo) -> Mapping[str, Any] | None:
    """The config of a model's network; None where its folder has none by a usual name."""
    paths = (info.folder / name / "config.json" for name in FOLDERS)
    return next((read_json(path) for path in paths if path.is_file()), None)


def is_unet(config: Mapping[str, Any]) -> bool:
    """Whether a network's config is a UNet's."""
    return "down_block_types" in config
