"""Finding a model by name, path or Hub id, and checking its files before they are read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from threading import Lock, Thread
from types import MappingProxyType
from typing import Any, TypeVar

from ldm_core.contracts.files import to_read
from ldm_core.errors import LdmError, PluginError, did_you_mean
from ldm_core.model.gguf_header import SUFFIX
from ldm_core.model.hub import as_folder, download_model
from ldm_core.model.hub_permission import NotAskedError
from ldm_core.model.kept_hashes import kept_hash
from ldm_core.model.modular_index import MODULAR_INDEX, as_plain_index
from ldm_core.model.reading import CONVERT as CONVERT
from ldm_core.model.reading import PICKLE_RUNS as PICKLE_RUNS
from ldm_core.model.reading import PICKLED as PICKLED
from ldm_core.model.reading import read_json as read_json
from ldm_core.model.safetensors_header import Shapes, read_header
from ldm_core.model.shipping import in_words
from ldm_core.model.weight_files import NAME, choose
from ldm_core.plugins.registry import Registry, ShippedModel

INDEX = "model_index.json"
LOOK = "`ldm models list` shows the models that are installed."
MODEL_RECIPE = "ldm.toml"
PIECE = 2**24
"""Bytes that are hashed at a time; between two pieces a thread beside waits for the interpreter."""


def find_model(source: str, registry: Registry, weights: bool = True) -> Path:
    """The folder of a model, or the safetensors or GGUF file that holds one.

    Args:
        source: the name of an installed model (or ``distribution:name``), a folder or file, or a
            Hub id ``owner/name`` or ``owner/name@revision``, which is downloaded to the Hub's own
            cache (safetensors only).
        weights: whether to download the weights too.
    Raises:
        LdmError: none of these, or the Hub cannot be reached.
    """
    shipped = [m for m in registry.models if source in (m.name, f"{m.distribution}:{m.name}")]
    if len(shipped) == 1:
        check_shipped(shipped[0])
        return shipped[0].folder
    if shipped:
        ids = " or ".join(f"'{m.distribution}:{m.name}'" for m in shipped)
        raise LdmError(f"several packages ship a model named '{source}': say {ids}.", LOOK)
    path = to_read(source, "the model")
    if path.is_dir():
        return path.resolve()
    if path.suffix in PICKLED and (path.exists() or os.sep in source):
        raise LdmError(f"the model '{source}' is a pickled file, {PICKLE_RUNS}", CONVERT)
    if path.is_file():
        if path.suffix not in (".safetensors", SUFFIX):
            raise LdmError(
                f"the model '{source}' is a file of another kind; a model is a folder with a "
                f"{INDEX} in it, or one .safetensors or {SUFFIX} file.",
                LOOK,
            )
        return path.resolve()
    if (hub := as_folder(source)) is not None:
        ask = partial(download_model, hub, (INDEX, MODULAR_INDEX), [MODEL_RECIPE], weights)
        return Path(from_hub(source, "folder", ask))
    looks_like_one = source.startswith((".", "~")) or path.suffix in (".safetensors", SUFFIX)
    if os.sep in source or looks_like_one:
        raise LdmError(f"there is no folder or file '{source}'.", LOOK)
    names = [m.name for m in registry.models]
    raise LdmError(f"no model named '{source}'.{did_you_mean(source, names)}", LOOK)


def check_shipped(model: ShippedModel) -> None:
    """See that the folder of a shipped model is there.

    Raises:
        PluginError: its package ships none that can be read.
    """
    folder = model.folder
    try:
        if folder.is_dir() and os.access(folder, os.R_OK | os.X_OK):
            if (folder / INDEX).is_file():
                return
            there = f"has no {INDEX}"
        else:
            there = "cannot be read" if folder.is_dir() else "is no folder"
        reason = OSError(f"{folder} {there if os.path.lexists(folder) else 'is not there'}")
    except OSError as error:  # such as of a name that is too long
        reason = error
    raise PluginError(in_words(model), "when its folder was read", reason)


T = TypeVar("T")


def from_hub(source: str, what: str, ask: Callable[[], T]) -> T:
    """What the Hub answers; `LdmError` where it does not give this folder or file."""
    try:
        return ask()
    except NotAskedError:
        raise LdmError(
            f"'{source}' is no {what} here, nor in the Hub's cache, and the Hub is not asked for a "
            "name that a file gives and no person; --allow-hub asks it.",
            LOOK,
        ) from None
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise LdmError(
            f"'{source}' is no {what} here, and the Hub did not give it: {reason[0]}", LOOK
        ) from error


def read_index(folder: Path) -> dict[str, Any]:
    """The folder's ``model_index.json``; where it has none, what its
    ``modular_model_index.json`` says in the same form.

    Raises:
        LdmError: the folder is no model in Diffusers' format.
    """
    if not (folder / INDEX).is_file():
        if (folder / MODULAR_INDEX).is_file():
            return as_plain_index(read_json(folder / MODULAR_INDEX))
        raise LdmError(
            f"'{folder}' is no model: it has no {INDEX}, which every model in Diffusers' folder "
            "format has.",
            LOOK,
        )
    return read_json(folder / INDEX)


def check_safetensors(file: Path) -> Shapes:
    """The shape of each tensor of a safetensors file that is seen to be whole."""
    return read_header(file).shapes


def model_hash(
    folder: Path, file: Path | None = None, components: Mapping[str, Path] = MappingProxyType({})
) -> str:
    """SHA-256 over the names and contents of the files that a model is read from.

    Of a component's weights these are the precision that is read, and its index; other precisions
    beside it are left out. Whatever is named in no way that is known is taken along.

    Args:
        file: the single file with the weights, where they are not in the folder.
        components: the folders of those that lie elsewhere, by name.
    """
    suffixes = {".json", ".txt", ".model", ".safetensors", ".toml"}
    files = sorted(f for f in folder.rglob("*") if f.suffix in suffixes and f.is_file())
    unread = _unread(files)
    files = [f for f in files if f not in unread]
    lines = [f"{f.relative_to(folder).as_posix()} {kept_hash(f, file_hash)}\n" for f in files]
    if file is not None:
        lines.append(f"{kept_hash(file, file_hash)}\n")
    lines += [f"{name} {model_hash(path)}\n" for name, path in sorted(components.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _unread(files: Iterable[Path]) -> set[Path]:
    """Those that are weights of a component, and not the ones that are read of it."""
    names: dict[Path, set[str]] = {}
    for file in files:
        names.setdefault(file.parent, set()).add(file.name)
    unread = set()
    for component, present in names.items():
        if (chosen := choose(present)) is not None:
            whole = chosen.index is None  # an index may name its parts in any way
            unread |= {
                component / name
                for name in present - {*chosen.names}
                if NAME.fullmatch(name) and (whole or name.endswith(".json"))
            }
    return unread


def hash_ahead(
    folder: Path, file: Path | None = None, components: Mapping[str, Path] = MappingProxyType({})
) -> None:
    """Begin `model_hash` in a thread beside, so that it is there when the first manifest asks; what
    it cannot read is said then."""

    def run() -> None:
        with suppress(OSError):
            model_hash(folder, file, components)

    Thread(target=run, name="hash", daemon=True).start()


def file_hash(file: Path) -> str:
    """SHA-256 of a file's contents; read again only when it has changed, and by one thread."""
    about = file.stat()
    with _one_at_a_time:
        lock = _being_hashed.setdefault(file, Lock())
    with lock:
        return _hash(file, about.st_size, about.st_mtime_ns, about.st_ctime_ns)


_one_at_a_time = Lock()
_being_hashed: dict[Path, Lock] = {}


@cache
def _hash(file: Path, size: int, mtime_ns: int, ctime_ns: int) -> str:
    digest, buffer = hashlib.sha256(), memoryview(bytearray(min(size, PIECE) + 1))
    with file.open("rb", buffering=0) as stream:
        while read := stream.readinto(buffer):
            digest.update(buffer[:read])
    return digest.hexdigest()


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder; of the file itself where it is one."""
    files = folder.rglob("*") if folder.is_dir() else [folder]
    return sum(f.stat().st_size for f in files if f.is_file())


def class_name(index: Mapping[str, Any]) -> str:
    """The pipeline class that a ``model_index.json`` names, for messages."""
    return str(index.get("_class_name", "nothing"))
