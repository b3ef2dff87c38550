"""Folders of pipelines that a model reads beside itself: found, and seen to be what they should."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ldm_core.errors import LdmError
from ldm_core.model.component_folder import component_folder
from ldm_core.model.files import read_index, read_json
from ldm_plugins.shared.config_types import check_component


def find_pipeline(
    source: str, what: str, cls: str, parts: Sequence[str]
) -> tuple[Path, dict[str, dict[str, Any]]]:
    """The folder of a pipeline of one class, and the configs of its parts by their names.

    Args:
        source: a folder or Hub id.
        what: it is, in a message.
        cls: of Diffusers' pipelines.
    Raises:
        LdmError: there is none, it is of another class, or a config cannot be read.
    """
    folder = component_folder(source, what)
    if not (folder / "model_index.json").is_file():
        raise LdmError(f"'{source}' has no model_index.json; name the folder of a {cls}.")
    found = read_index(folder).get("_class_name")
    if found != cls:
        raise LdmError(f"'{source}' should be the folder of a {cls}, not of a {found}.")
    configs = {}
    for name in parts:
        file = folder / name / "config.json"
        configs[name] = read_json(file)
        check_component(configs[name], file)
    return folder, configs
