"""Reading JSON files, and what is said of files that are not read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ldm_core.errors import LdmError

PICKLE_RUNS = "which can run code when read and is not loaded."
CONVERT = (
    "convert it to safetensors where you trust it, with Diffusers' "
    "save_pretrained(safe_serialization=True)."
)
PICKLED = (".ckpt", ".pt", ".pth", ".bin", ".pkl")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a model folder; `LdmError` where it is missing or broken."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise LdmError(f"the model folder lacks {path.parent.name}/{path.name}: {path}") from None
    except (OSError, ValueError) as error:
        raise LdmError(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(content, dict):
        raise LdmError(f"{path} should hold a JSON object.")
    return content
