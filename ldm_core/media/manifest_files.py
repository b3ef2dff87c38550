"""The files that a picture was made with, by their hashes, and which of them have changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ldm_core.composition.composition import Composition
from ldm_core.composition.full_recipe import recipe_in_full, saved_options
from ldm_core.composition.named_files import option_files
from ldm_core.composition.recipe import Layer
from ldm_core.contracts import Input
from ldm_core.contracts.files import WRITTEN, files_in, in_full, is_there, parts_of, with_full_paths
from ldm_core.media.manifest_record import Manifest
from ldm_core.model.files import file_hash, model_hash
from ldm_core.model.lora import strength
from ldm_core.plugins.options import Option


def lora_hashes(composition: Composition) -> list[dict[str, Any]]:
    """Each LoRA in force with the SHA-256 of its file."""
    names = [entry["path"] for entry in composition.recipe.get("loras", [])]
    return [
        {"path": name, **lora.entry, "sha256": file_hash(lora.file)}
        for name, lora in zip(names, composition.loras, strict=True)
    ]


def beside_hashes(composition: Composition) -> dict[str, str]:
    """The SHA-256 of each file that a guidance or conditioning reads, by path; of a folder, that
    over its files (see `model_hash`)."""
    paths = {*composition.guidance.files()}
    paths |= {path for part in composition.conditioning for path in part.files()}
    return {str(p): model_hash(p) if p.is_dir() else file_hash(p) for p in sorted(paths)}


def converter_hashes(composition: Composition) -> dict[str, str]:
    """The SHA-256 of each file that a converter reads, by path; the recipe's LoRA left out."""
    files = {file for converter in composition.converters for file in converter.files()}
    return {
        str(file): file_hash(file) for file in files - {lora.file for lora in composition.loras}
    }


def option_hashes(composition: Composition, recipe: Layer) -> dict[str, str]:
    """The SHA-256 of each other file that an option of the recipe names, by path; of a folder, that
    over names and contents of all that is in it."""
    hashed = {*beside_hashes(composition), *converter_hashes(composition)}
    hashed |= {str(lora.file) for lora in composition.loras}
    named = {str(path): path for path in option_files(recipe, composition.registry)}
    return {name: _hash(named[name]) for name in sorted(named.keys() - hashed)}


def input_hashes(declared: Mapping[str, Input], inputs: Mapping[str, Any]) -> dict[str, str]:
    """The SHA-256 of each file that inputs of one image name, by path in full.

    Args:
        declared: by name; other inputs name none.
    """
    files: set[str] = set()

    def take(name: str) -> str:
        files.add(in_full(name))
        return name

    for name in inputs.keys() & declared.keys():
        names_file = Path in parts_of(declared[name].type)
        with_full_paths(inputs[name], names_file, declared[name].file_keys, take)
    return hashes_of(files)


def command_record(
    name: str,
    declared: Mapping[str, Option],
    arguments: Sequence[Any],
    options: Mapping[str, Any],
    plain: Callable[[Any], Any],
) -> dict[str, Any]:
    """How a command was called, by which its pictures are made again: with the defaults of its
    options, and the hashes of the files that it was given.

    Args:
        declared: its options.
        plain: the form in which a file holds a value.
    """
    written = {n for n, o in declared.items() if WRITTEN in parts_of(o.annotation)}
    values = [*arguments, *(value for n, value in options.items() if n not in written)]
    several = [v for value in values for v in (value if isinstance(value, list) else [value])]
    files = hashes_of(in_full(value) for value in several if isinstance(value, Path))
    record = {
        "name": name,
        "arguments": plain(list(arguments)),
        "options": {**saved_options(declared), **plain(dict(options))},
    }
    return {**record, "files": files} if files else record


def hashes_of(paths: Iterable[str]) -> dict[str, str]:
    """The SHA-256 of each file or folder that is there and can be read, by path."""
    hashes = {}
    for path in sorted(filter(is_there, {*paths})):
        with suppress(OSError):
            hashes[path] = _hash(Path(path))
    return hashes


def source_differences(then: Manifest) -> list[str]:
    """One line for each file that inputs or arguments name, and is not what it was."""
    was = {**then.input_files, **({} if then.command is None else then.command.files)}
    now = hashes_of(was)
    return [
        f"{path}, from which the picture was made, is not that of then"
        for path, hash in was.items()
        if now.get(path, hash) != hash
    ]


def _hash(path: Path) -> str:
    if path.is_file():
        return file_hash(path)
    files = sorted(files_in(path))
    lines = [f"{file.relative_to(path).as_posix()} {file_hash(file)}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def file_differences(then: Manifest, composition: Composition) -> list[str]:
    """One line for each LoRA, and file of a converter, that is not what it was."""
    now = lora_hashes(composition)
    if len(then.loras) != len(now):
        return [f"{len(then.loras)} LoRA then, {len(now)} now"]
    notes = []
    for before, after in zip(then.loras, now, strict=True):
        if before.sha256 != after["sha256"]:
            notes.append(f"the LoRA {after['path']} is not the file of then")
        if strength(before.model_dump()) != strength(after):
            notes.append(f"the LoRA {after['path']} has another scale than then")
    files, read = then.converter_files, converter_hashes(composition)
    if sorted(files.values()) != sorted(read.values()):
        changed = {path for path, _ in {*files.items()} ^ {*read.items()}}
        notes += [f"the converter's file {path} is not that of then" for path in sorted(changed)]
    others, now_beside = then.beside, beside_hashes(composition)
    if others and sorted(others.values()) != sorted(now_beside.values()):
        changed = {path for path, _ in {*others.items()} ^ {*now_beside.items()}}
        notes += [f"{path}, beside the model, is not that of then" for path in sorted(changed)]
    named = then.option_files
    now_named = option_hashes(composition, recipe_in_full(composition)) if named else {}
    if sorted(named.values()) != sorted(now_named.values()):
        changed = {path for path, _ in {*named.items()} ^ {*now_named.items()}}
        notes += [f"{path}, which an option names, is not that of then" for path in sorted(changed)]
    return notes
