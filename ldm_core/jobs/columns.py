"""What columns of a line mean: choices of a recipe, arguments of a call, inputs of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from ldm_core.composition.composition import Composition
from ldm_core.composition.recipe import KEYS, SETTINGS, Layer, as_layer, read_value
from ldm_core.contracts import FrameRate, Input, Seed
from ldm_core.contracts.files import expanded, in_full, parts_of, with_full_paths
from ldm_core.contracts.latents import AtLeastOne
from ldm_core.errors import LdmError, did_you_mean
from ldm_core.values import brief, fitted, type_name

SAME = {"steps": "num_inference_steps"}
"""Other names of columns."""
OF_CALL: Mapping[str, Any] = {
    "seed": Seed,
    "num_inference_steps": AtLeastOne,
    "width": AtLeastOne,
    "height": AtLeastOne,
    "guidance_scale": float,
    "frame_rate": FrameRate,
    "file_name": str,
}
"""Columns that mean the same for every model, with their types."""


class UnknownColumn(LdmError):
    """A column that means nothing to the model of a line."""

    def __init__(self, name: str, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.name = name


@dataclass(frozen=True)
class Columns:
    """What one line says, by what it is of.

    Attributes:
        choices: of a recipe.
        call: ``seed``, ``file_name``, the extent and the number of steps, where it says them.
        others: by name, as they stand there: inputs, or nothing.
    """

    choices: Layer
    call: Mapping[str, Any]
    others: Mapping[str, Any]


def columns_of(values: Mapping[str, Any], text: bool) -> Columns:
    """The columns of a line, as far as they can be told without its model.

    Args:
        values: by column; None is as none.
        text: values are text, to be read by what the column is.
    Raises:
        LdmError: values are of another type than their columns, or given twice, with all reasons.
    """
    reasons: list[str] = []
    choices: dict[str, Any] = {}
    call: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for column, value in values.items():
        if value is None:
            continue
        name = SAME.get(column, column)
        if name in call or name in choices:
            reasons.append(f"it says '{name}' twice, as '{column}' too")
            continue
        try:
            if name in OF_CALL:
                call[name] = _typed(column, OF_CALL[name], value)
            elif name in KEYS:
                choices[name] = _choice(name, value) if text else value
            else:
                others[name] = value
        except LdmError as error:
            reasons.append(error.message.rstrip("."))
    scale = call.pop("guidance_scale", None)
    layer: Layer = {}
    try:
        layer = as_layer(choices)
    except LdmError as error:
        reasons.append(error.message.rstrip("."))
    if scale is not None:
        guidance = layer.get("guidance", {})
        if "scale" in guidance:
            reasons.append("it says 'guidance_scale' twice, in 'guidance' too")
        layer["guidance"] = {**guidance, "scale": scale}
    if reasons:
        raise LdmError("; ".join(reasons))
    return Columns(layer, call, others)


def _choice(name: str, cell: str) -> Any:
    """A recipe's key in text: a name, or what TOML makes of it."""
    return (
        cell.strip() if name in SETTINGS and str in parts_of(SETTINGS[name]) else read_value(cell)
    )


def _typed(name: str, annotation: Any, value: Any) -> Any:
    if isinstance(value, str) and annotation is not str:
        value = value.strip()
    try:
        return fitted(annotation, value, text=True)
    except ValueError as error:
        kind = type_name(annotation)
        least = " of at least 1" if annotation is AtLeastOne else ""
        raise LdmError(
            f"its '{name}' should be {kind}{least}, not {brief(value)}: {error}"
        ) from None


def inputs_of(
    others: Mapping[str, Any],
    declared: Mapping[str, Input],
    composition: Composition,
    folder: Path,
    text: bool,
) -> tuple[dict[str, Any], dict[str, int]]:
    """The inputs among a line's columns, and lengths of the model's other axes.

    Args:
        declared: what a line may give.
        folder: in which files are looked for that are named by a part of their path.
    Raises:
        UnknownColumn: a column is none of them.
    """
    inputs: dict[str, Any] = {}
    extent: dict[str, int] = {}
    axes = composition.info.latents.names
    for name, value in others.items():
        if name in axes:
            extent[name] = _typed(name, AtLeastOne, value)
        elif name in declared:
            one = declared[name]
            read = read_input(one, value) if text else value
            inputs[name] = _in_full(one, read, folder)
        elif error := unknown(name, declared, composition):
            raise error
    return inputs, extent


def unknown(
    name: str, declared: Mapping[str, Input], composition: Composition
) -> UnknownColumn | None:
    """Why a column means nothing; None where it means something."""
    there = [*declared, *OF_CALL, *SAME, *composition.info.latents.names, *KEYS]
    if name in there:
        return None
    return UnknownColumn(
        name,
        f"'{name}' is no column that means something here.{did_you_mean(name, there)}",
        f"the model '{composition.info.source}' reads {', '.join(declared) or 'nothing'}; beside "
        f"these there are {', '.join(OF_CALL)} and the keys of a recipe.",
    )


def read_input(declared: Input, cell: str) -> Any:
    """The value of an input in text; a text, and the name of a file, is never read as a number."""
    kinds = {*(get_args(declared.type) or (declared.type,))}
    if kinds - {NoneType} == {str}:
        return cell
    one_file = Path in parts_of(declared.type) and not cell.lstrip().startswith(("[", "{", '"'))
    return cell.strip() if one_file else read_value(cell)


def _in_full(declared: Input, value: Any, folder: Path) -> Any:
    names_file = Path in parts_of(declared.type)
    if not (names_file or declared.file_keys):
        return value
    return with_full_paths(value, names_file, declared.file_keys, partial(_beside, folder))


def _beside(folder: Path, name: str) -> str:
    return in_full(folder / expanded(name))
