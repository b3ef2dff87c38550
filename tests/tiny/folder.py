"""The JSON files that make components a model folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_configs(
    folder: Path, pipeline: str, scheduler: Mapping[str, Any], components: Mapping[str, Any]
) -> None:
    """``model_index.json`` and the scheduler's config, with ``_class_name`` in it."""
    (folder / "scheduler").mkdir(parents=True, exist_ok=True)
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    index = {
        "_class_name": pipeline,
        "_diffusers_version": "0.35.0",
        "scheduler": ["diffusers", scheduler["_class_name"]],
        **components,
    }
    (folder / "model_index.json").write_text(json.dumps(index))
