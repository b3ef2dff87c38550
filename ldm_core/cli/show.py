"""``ldm show``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ldm_core.cli.command_text import command_text
from ldm_core.cli.ends import say
from ldm_core.cli.tables import print_table
from ldm_core.cli.taken_over import Taken, taken_of_manifest, taken_of_recorded
from ldm_core.composition.recipe import LISTS, STAGES
from ldm_core.composition.toml_text import as_toml
from ldm_core.contracts import ModelInfo
from ldm_core.contracts.files import expanded
from ldm_core.errors import LdmError
from ldm_core.media.foreign_texts import recorded_in
from ldm_core.media.manifest_record import Manifest
from ldm_core.media.picture_manifests import BESIDE, manifest_text, read_beside, read_manifest
from ldm_core.media.present import state
from ldm_core.media.recorded import Recorded
from ldm_core.model.lora import strength_in_words
from ldm_core.plugins.elsewhere_words import flags_of
from ldm_core.plugins.registry import installed

CHANGED = "changed after it was made"


def show(
    image: Annotated[
        Path,
        typer.Argument(
            help="A picture, video or sound that ldm made, the .json beside it, or a picture of "
            "A1111 or ComfyUI."
        ),
    ],
    recipe: Annotated[
        bool, typer.Option("--recipe", help="Print its recipe, as a TOML file holds it.")
    ] = False,
    command: Annotated[
        bool, typer.Option("--command", help="Print the command that makes it again.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say how a picture, video or sound was made: all of it, its recipe, or a command for it."""
    if recipe + command + as_json > 1:
        raise LdmError("--recipe, --command and --json each ask for another form; give one.")
    image = expanded(image)
    table, recorded = made(image)
    if recipe or command:
        found = taken(table, recorded)
        for note in found.notes:
            say(f"note: {note}")
        print(_recipe(found) if recipe else _command(found, table, image.parent), end="")
    elif as_json:
        print(json.dumps(_as_json(image, table, recorded)))
    elif table is not None:
        print_table(("of it", "what"), list(_rows(image, table)))
    elif recorded is not None:
        print_table(("of it", "what"), list(_recorded_rows(recorded)))


def made(path: Path) -> tuple[dict[str, Any] | None, Recorded | None]:
    """The manifest of a file, or else what another program says of it.

    Raises:
        LdmError: there is neither, or no such file.
    """
    if path.suffix == BESIDE:
        return read_beside(path), None
    try:
        if manifest_text(path) is None and (recorded := recorded_in(path)) is not None:
            return None, recorded
    except (OSError, ValueError, LdmError):
        pass  # which reading it says
    if not path.is_file():
        raise LdmError(f"there is no file {path}.")
    return read_manifest(path), None


def taken(
    table: Mapping[str, Any] | None, recorded: Recorded | None, info: ModelInfo | None = None
) -> Taken:
    """What is taken over from a file; one of the two is there.

    Args:
        info: of the model that is drawn with, where that is known.
    """
    if table is not None:
        return taken_of_manifest(table, installed())
    assert recorded is not None
    return taken_of_recorded(recorded, installed(), info)


def _recipe(taken: Taken) -> str:
    layer = {**taken.layer, **({"extent": dict(taken.size)} if taken.size else {})}
    if {*taken.size} == {"width", "height"}:
        layer = {**taken.layer, **taken.size}
    return as_toml(layer)


def _command(taken: Taken, table: Mapping[str, Any] | None, folder: Path) -> str:
    ran = None if table is None else Manifest.of(table).command
    if ran is not None and ran.image:
        say(f"note: the picture is number {ran.image + 1} of those that it makes")
    text = command_text(
        taken.layer, taken.inputs, taken.seed, taken.size, taken.frame_rate, ran, folder
    )
    return f"{text}\n"


def _rows(image: Path, table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A manifest as lines; of a chain those of each pipeline."""
    if isinstance(several := table.get("chain"), list):
        for number, one in enumerate(several, 1):
            yield f"pipeline {number}", f"of {len(several)}, one after the other"
            if isinstance(one, dict):
                yield from _rows_of(one)
    else:
        yield from _rows_of(table)
    if image.suffix != BESIDE and state(image) == "changed":
        yield "the file", CHANGED


def _rows_of(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    manifest = Manifest.of(table)
    yield "made by", f"ldm {manifest.versions.get('ldm-core', 'of an unknown version')}"
    if manifest.command is not None:
        yield "command", f"{manifest.command.name}, its picture {manifest.command.image + 1}"
    for name, value in manifest.inputs.items():
        if value is not None:
            yield name.replace("_", " "), _text(value)
    yield "seed", str(manifest.seed)
    yield "size", " × ".join(f"{n} {name}" for name, n in manifest.size.items())
    yield "steps", str(manifest.num_inference_steps)
    if manifest.frame_rate is not None:
        yield "frame rate", f"{manifest.frame_rate:g}"
    recipe = manifest.recipe
    if isinstance(recipe.get("model"), str):
        yield "model", recipe["model"]
    for lora in manifest.loras:
        yield "LoRA", f"{lora.path}, {strength_in_words(lora.model_dump())}"
    for key in (*STAGES, *LISTS):
        choices = recipe.get(key, [])
        for choice in choices if isinstance(choices, list) else [choices]:
            yield LISTS.get(key, key), _choice(choice)
    if (dtype := recipe.get("dtype")) is not None:
        yield "dtype", str(dtype)
    for name, version in manifest.versions.items():
        yield "package", f"{name} {version}"


def _choice(choice: Any) -> str:
    if not isinstance(choice, Mapping):
        return _text(choice)
    options = [f"{k} = {_text(v)}" for k, v in choice.items() if k != "name" and v is not None]
    return " ".join([_text(choice.get("name", "")), f"({', '.join(options)})" if options else ""])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _recorded_rows(recorded: Recorded) -> Iterator[tuple[str, str]]:
    yield "made by", recorded.program
    if recorded.unread:
        yield "unread", recorded.unread
    for name, value in _fields(recorded).items():
        yield name.replace("_", " "), str(value)
    yield from recorded.more.items()
    if not recorded.unread:
        taken = taken_of_recorded(recorded, installed())
        yield "here", flags_of({k: v for k, v in taken.layer.items() if isinstance(v, Mapping)})
        for note in taken.notes:
            yield "note", note


def _fields(recorded: Recorded) -> dict[str, Any]:
    fields = {k: v for k, v in asdict(recorded).items() if k not in ("program", "more", "unread")}
    return {name: value for name, value in fields.items() if value is not None}


def _as_json(
    image: Path, table: Mapping[str, Any] | None, recorded: Recorded | None
) -> dict[str, Any]:
    if recorded is not None:
        what = {**_fields(recorded), **({"unread": recorded.unread} if recorded.unread else {})}
        return {"made_by": recorded.program, **what, "more": dict(recorded.more)}
    changed = image.suffix != BESIDE and state(image) == "changed"
    return {"made_by": "ldm", "changed": changed, "manifest": table}
