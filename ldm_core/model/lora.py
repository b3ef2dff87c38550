"""LoRA files: what a recipe says of them; found and checked before any weight is read."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ldm_core.contracts.files import expanded
from ldm_core.errors import LdmError
from ldm_core.model.files import CONVERT, PICKLE_RUNS, PICKLED, check_safetensors, from_hub


@dataclass(frozen=True)
class Lora:
    """A LoRA file (Hu et al. 2021, arXiv:2106.09685), seen to be whole.

    Attributes:
        source: as a person named it: a path or a Hub id.
        scale: factor of its change to the weights; 1 is as it was trained.
    """

    source: str
    file: Path
    scale: float


HUB_ID = re.compile(r"([\w-][\w.-]*/[\w.-]+)(?:/(.+\.safetensors))?")
MARKS = ("lora", "lokr")


def as_lora(value: Any) -> dict[str, Any]:
    """An entry of a recipe's ``loras`` as a table of path and scale.

    Args:
        value: a path, ``path:scale``, or a table with ``path`` and, where it is not 1, ``scale``.
    Raises:
        LdmError: it is something else.
    """
    table = value
    if isinstance(value, str | Path):
        path, scale = str(value), re.fullmatch(r"(.+):([-+]?[\d.]+(?:e[-+]?\d+)?)", str(value))
        table = {"path": scale[1], "scale": scale[2]} if scale else {"path": path}
    if not isinstance(table, Mapping) or not {"path"} <= {*table} <= {"path", "scale"}:
        raise LdmError(
            "an entry of 'loras' should be a path, path:scale, or a table of path and scale, "
            f"not {value!r}."
        )
    path, scale = table["path"], table.get("scale", 1.0)
    try:
        number = math.nan if isinstance(scale, bool) else float(scale)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise LdmError(f"the scale of the LoRA '{path}' should be a number, not {scale!r}.")
    return {"path": str(path), "scale": number}


def find_loras(entries: Sequence[Mapping[str, Any]]) -> tuple[Lora, ...]:
    """The files of these entries, each seen to be whole and to hold a LoRA.

    Raises:
        LdmError: one is missing, cut off, pickled, or no LoRA.
    """
    return tuple(Lora(e["path"], _find(e["path"]), e["scale"]) for e in entries)


def is_lora(names: Iterable[str]) -> bool:
    """Whether tensors of these names are a LoRA's."""
    return any(mark in name for name in names for mark in MARKS)


def _find(source: str) -> Path:
    file = expanded(source)
    hub = HUB_ID.fullmatch(source)
    if file.suffix in PICKLED:
        raise LdmError(f"the LoRA '{source}' is a pickled file, {PICKLE_RUNS}", CONVERT)
    if file.is_file():
        file = file.resolve()
    elif file.is_dir():
        raise LdmError(f"the LoRA '{source}' is a folder; name the .safetensors file in it.")
    elif hub and (hub[2] or file.suffix != ".safetensors"):
        file = Path(from_hub(source, "file", lambda: _download(hub[1], hub[2])))
    else:
        raise LdmError(f"there is no LoRA file '{source}'.")
    if not is_lora(check_safetensors(file)):
        raise LdmError(f"'{source}' holds no LoRA: none of its tensors is named as one.")
    return file


def _download(hub_id: str, name: str | None) -> str:
    from huggingface_hub import hf_hub_download, list_repo_files

    if name is None:
        files = [file for file in list_repo_files(hub_id) if file.endswith(".safetensors")]
        if len(files) != 1:
            raise LdmError(
                f"it has {len(files)} safetensors files; say which, as in {hub_id}/FILE: "
                f"{', '.join(sorted(files)) or 'none'}"
            )
        name = files[0]
    return hf_hub_download(hub_id, name)
