"""A checkpoint's files, read and judged before any of it is taken over."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ldm_core.errors import LdmError

FIRST, SECOND, STEP = "exp_avg", "exp_avg_sq", "step"
"""What AdamW keeps of each parameter."""


class Damaged(LdmError):
    """A file of a checkpoint is not what was written."""


@dataclass(frozen=True)
class State:
    """What a checkpoint's ``state.json`` says.

    Attributes:
        step: updates that are done.
        settings: of the run.
        hashes: of the other files, by their names; none in a checkpoint of an earlier release.
    """

    step: int
    settings: Mapping[str, Any]
    hashes: Mapping[str, str]


def read_state(file: Path) -> State:
    """What ``state.json`` says.

    Raises:
        Damaged: it cannot be read, or says something else.
    """
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(file, _line(error)) from error
    if not isinstance(state, dict):
        raise _damaged(file, "it is no table")
    step, settings, hashes = state.get("step"), state.get("settings"), state.get("sha256", {})
    if not isinstance(step, int) or isinstance(step, bool) or step < 0:
        raise _damaged(file, f"its step is {step!r}, and should be a number of updates")
    if not isinstance(settings, dict):
        raise _damaged(file, "it does not say the run's settings")
    steps = settings.get("steps")
    if isinstance(steps, int) and step > steps:
        raise _damaged(file, f"its step is {step}, of a run of {steps} steps")
    if not isinstance(hashes, dict):
        raise _damaged(file, "its hashes are no table")
    return State(step, settings, hashes)


def read_tensors(file: Path, state: State) -> dict[str, Tensor]:
    """The tensors of a file, all of them finite.

    Raises:
        Damaged: it cannot be read, or is not what was written.
    """
    from ldm_core.model.files import file_hash

    try:
        if state.hashes.get(file.name) not in (None, file_hash(file)):
            raise _damaged(file, "its contents are not those that were written")
        tensors: dict[str, Tensor] = load_file(file)
    except (OSError, SafetensorError) as error:
        raise _damaged(file, _line(error)) from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise _damaged(file, f"'{name}' holds numbers that are not finite")
    return tensors


def check_shapes(file: Path, tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> None:
    """See that a file has the tensors of these names and shapes, and no others.

    Raises:
        Damaged: it has not.
    """
    for name in sorted({*tensors} ^ {*like}):
        raise _damaged(file, f"'{name}' is {'missing' if name in like else 'none of this run'}")
    for name, tensor in tensors.items():
        if tensor.shape != like[name].shape or tensor.dtype != like[name].dtype:
            what = f"{_said(tensor)} in place of {_said(like[name])}"
            raise _damaged(file, f"'{name}' is {what}")


def moments(
    file: Path, tensors: Mapping[str, Tensor], parameters: list[Tensor]
) -> dict[int, dict[str, Tensor]]:
    """What an optimizer keeps of each parameter, by its number; each of its tensors.

    Raises:
        Damaged: something is missing, or of another parameter.
    """
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        digits, _, name = key.partition(".")
        if not digits.isdecimal() or int(digits) >= len(parameters):
            raise _damaged(file, f"'{key}' is of no parameter of this run")
        state.setdefault(int(digits), {})[name] = tensor
    for number, entries in state.items():
        like = {
            f"{number}.{STEP}": torch.zeros(()),
            f"{number}.{FIRST}": parameters[number],
            f"{number}.{SECOND}": parameters[number],
        }
        check_shapes(file, {f"{number}.{n}": value for n, value in entries.items()}, like)
    return state


def _damaged(file: Path, why: str) -> Damaged:
    return Damaged(f"the checkpoint's file '{file}' is damaged: {why}.")


def _said(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"


def _line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
