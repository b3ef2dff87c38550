"""Finding a model by name, folder or Hub id, and checking its files before they are read."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ldm_core.errors import LdmError, did_you_mean
from ldm_core.plugins.registry import Registry

INDEX = "model_index.json"
LOOK = "`ldm models list` shows the models that are installed."
HUB_FILES = [INDEX, "ldm.toml", "*/*.json", "*/*.txt", "*/*.model", "*/*.safetensors"]
HUB_LEFT_OUT = ["*/*.fp16.*", "*/*.bf16.*", "*/*non_ema*", "safety_checker/*", "*/openvino*"]


def find_model(source: str, registry: Registry) -> Path:
    """The folder of a model.

    Args:
        source: the name of an installed model (or ``distribution:name``), a folder, or a Hub id
            ``owner/name``, which is downloaded to the Hub's own cache (safetensors only).
    Raises:
        LdmError: none of these, or the Hub cannot be reached.
    """
    shipped = [m for m in registry.models if source in (m.name, f"{m.distribution}:{m.name}")]
    if len(shipped) == 1:
        return shipped[0].folder
    if shipped:
        ids = " or ".join(f"'{m.distribution}:{m.name}'" for m in shipped)
        raise LdmError(f"several packages ship a model named '{source}': say {ids}.", LOOK)
    path = Path(source).expanduser()
    if path.is_dir():
        return path.resolve()
    if path.exists():
        raise LdmError(
            f"the model '{source}' is a file; a model is a folder with a {INDEX} in it.", LOOK
        )
    if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", source):
        return _download(source)
    if os.sep in source or source.startswith((".", "~")):
        raise LdmError(f"there is no folder '{source}'.", LOOK)
    names = [m.name for m in registry.models]
    raise LdmError(f"no model named '{source}'.{did_you_mean(source, names)}", LOOK)


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(hub_id, allow_patterns=HUB_FILES, ignore_patterns=HUB_LEFT_OUT)
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise LdmError(
            f"'{hub_id}' is no folder here, and the Hub did not give it: {reason[0]}", LOOK
        ) from error
    return Path(folder)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a model folder; `LdmError` where it is missing or broken."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LdmError(f"the model folder lacks {path.parent.name}/{path.name}: {path}") from None
    except (OSError, ValueError) as error:
        raise LdmError(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(found, dict):
        raise LdmError(f"{path} should hold a JSON object.")
    return found


def read_index(folder: Path) -> dict[str, Any]:
    """The folder's ``model_index.json``.

    Raises:
        LdmError: the folder is no model in Diffusers' format.
    """
    if not (folder / INDEX).is_file():
        raise LdmError(
            f"'{folder}' is no model: it has no {INDEX}, which every model in Diffusers' folder "
            "format has.",
            LOOK,
        )
    return read_json(folder / INDEX)


def check_weights(folder: Path, components: Iterable[str]) -> None:
    """See that each component has whole safetensors files; reads their headers alone.

    Raises:
        LdmError: weights are missing, truncated or pickled. Nothing is ever unpickled.
    """
    for component in components:
        part = folder / component
        files = sorted(part.glob("*.safetensors"))
        if not files:
            pickled = [f.name for s in ("bin", "ckpt", "pt", "pth") for f in part.glob(f"*.{s}")]
            if pickled:
                raise LdmError(
                    f"{part} holds pickled weights ({pickled[0]}), which can run code when read "
                    "and are not loaded.",
                    "convert them to safetensors where you trust them, with Diffusers' "
                    "save_pretrained(safe_serialization=True).",
                )
            raise LdmError(f"{part} has no weights (*.safetensors).")
        for file in files:
            check_safetensors(file)


def check_safetensors(file: Path) -> None:
    """See that a file has as many bytes as its safetensors header says.

    Raises:
        LdmError: it has fewer or more, or no header.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= min(size - 8, 100_000_000):
            raise LdmError(f"{file} is no safetensors file, or was cut off ({size} bytes).")
        try:
            header = json.loads(stream.read(length))
            ends = [t["data_offsets"][1] for name, t in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LdmError(f"{file} has a broken safetensors header: {error}") from None
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise LdmError(
            f"{file} has {size} bytes where its header says {expected}: it was cut off or damaged.",
            "copy or download it again.",
        )


def model_hash(folder: Path) -> str:
    """SHA-256 over the names and contents of the files that a model is read from."""
    suffixes = {".json", ".txt", ".model", ".safetensors", ".toml"}
    files = sorted(f for f in folder.rglob("*") if f.suffix in suffixes and f.is_file())
    stamp = tuple((f.stat().st_size, f.stat().st_mtime_ns) for f in files)
    return _hash(folder, tuple(files), stamp)


@cache
def _hash(folder: Path, files: tuple[Path, ...], stamp: tuple[tuple[int, int], ...]) -> str:
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        total.update(f"{file.relative_to(folder).as_posix()} {digest}\n".encode())
    return total.hexdigest()


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())


def class_name(index: Mapping[str, Any]) -> str:
    """The pipeline class that a ``model_index.json`` names, for messages."""
    return str(index.get("_class_name", "nothing"))
