"""The files that a picture was made with, by their hashes, and which of them have changed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ldm_core.composition.composition import Composition
from ldm_core.composition.full_recipe import recipe_in_full
from ldm_core.composition.named_files import option_files
from ldm_core.composition.recipe import Layer
from ldm_core.media.manifest_record import Manifest
from ldm_core.model.files import file_hash, model_hash


def lora_hashes(composition: Composition) -> list[dict[str, Any]]:
    """Each LoRA in force with the SHA-256 of its file."""
    names = [entry["path"] for entry in composition.recipe.get("loras", [])]
    return [
        {"path": name, "scale": lora.scale, "sha256": file_hash(lora.file)}
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


def _hash(path: Path) -> str:
    if path.is_file():
        return file_hash(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
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
        if before.scale != after["scale"]:
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
