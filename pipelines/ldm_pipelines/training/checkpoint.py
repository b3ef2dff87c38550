"""Checkpoints without pickle: safetensors and a little JSON, written so that a kill cannot hurt.

A checkpoint is one folder. It is written under a temporary name and renamed into place, so
what lies there later is the old one or the new one, never half of one.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from ldm_core.errors import LdmError, LdmWarning
from ldm_core.machine import refused
from ldm_core.media.partial import partial_folder, to_disk
from ldm_core.model.files import file_hash
from ldm_pipelines.training.damage import (
    Damaged,
    check_shapes,
    moments,
    read_state,
    read_tensors,
)
from ldm_pipelines.training.ema import Ema

WEIGHTS, AVERAGE, OPTIMIZER, STATE = (
    "weights.safetensors",
    "average.safetensors",
    "optimizer.safetensors",
    "state.json",
)

STEPS = "steps"
"""The setting that a run may change on its way."""
START_AGAIN = "--no-resume on the command line, resume=False in Python"


def save(
    folder: Path,
    *,
    step: int,
    settings: dict[str, Any],
    module: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    ema: Ema | None = None,
) -> None:
    """Write the state after `step` updates to ``folder``, replacing what was there.

    Raises:
        MachineError: it cannot be written, as on a full disk; what was there stays.
    """
    try:
        _save(folder, step, settings, module, optimizer, ema)
    except (OSError, SafetensorError) as error:
        raise refused(f"the checkpoint '{folder}' cannot be written", error) from None


def _save(
    folder: Path,
    step: int,
    settings: dict[str, Any],
    module: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    ema: Ema | None,
) -> None:
    old = folder.with_name(folder.name + ".old")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with partial_folder(folder.parent) as fresh:
        save_file(_plain(module.state_dict()), fresh / WEIGHTS)
        save_file(_plain(_optimizer_tensors(optimizer)), fresh / OPTIMIZER)
        if ema is not None:
            save_file(_plain(ema.average), fresh / AVERAGE)
        hashes = {file.name: file_hash(file) for file in sorted(fresh.iterdir())}
        state = {"step": step, "settings": settings, "sha256": hashes}
        (fresh / STATE).write_text(json.dumps(state, indent=2) + "\n")
        for file in (*fresh.iterdir(), fresh):
            to_disk(file)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.replace(folder, old)
        os.replace(fresh, folder)
        to_disk(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def restore(
    folder: Path,
    *,
    settings: dict[str, Any],
    module: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    ema: Ema | None = None,
) -> int:
    """Load a checkpoint into the given objects; return its step, or 0 where there is none.

    A run may go on for more steps, or fewer, than it was begun with, which is said. Nothing is
    taken over of a checkpoint that is damaged.

    Raises:
        LdmError: the checkpoint was made with other settings, or has more steps than are asked for,
            or is damaged.
    """
    old = folder.with_name(folder.name + ".old")
    place = folder if os.path.lexists(folder) else old  # killed between the two renames
    if not os.path.lexists(place):
        return 0
    try:
        return _restore(place, settings, module, optimizer, ema)
    except Damaged as error:
        raise LdmError(error.message, _way_out(place, old)) from error


def _restore(
    folder: Path,
    settings: dict[str, Any],
    module: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    ema: Ema | None,
) -> int:
    state = read_state(folder / STATE)
    before = state.settings
    differences = [
        f"{name} was {before.get(name)!r}, now {value!r}"
        for name, value in settings.items()
        if before.get(name) != value and name != STEPS
    ]
    if differences:
        raise LdmError(
            f"{folder} holds a run with other settings ({', '.join(differences)}); "
            "give another output folder, or start again",
            START_AGAIN,
        )
    _check_steps(folder, state.step, before.get(STEPS), settings.get(STEPS))
    weights = read_tensors(folder / WEIGHTS, state)
    check_shapes(folder / WEIGHTS, weights, module.state_dict())
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    kept = moments(folder / OPTIMIZER, read_tensors(folder / OPTIMIZER, state), parameters)
    average = None if ema is None else read_tensors(folder / AVERAGE, state)
    if ema is not None and average is not None:
        check_shapes(folder / AVERAGE, average, ema.average)
        ema.load(average)
    module.load_state_dict(weights)
    _load_optimizer(optimizer, kept, parameters)
    return state.step


def tidy(folder: Path) -> None:
    """Remove what a kill left beside a checkpoint that is there."""
    if (folder / STATE).exists():
        for ending in (".new", ".old"):
            shutil.rmtree(folder.with_name(folder.name + ending), ignore_errors=True)


def _way_out(folder: Path, old: Path) -> str:
    """What to do about a damaged checkpoint."""
    if folder != old and old.is_dir():
        try:
            state = read_state(old / STATE)
            for name in (WEIGHTS, OPTIMIZER):
                read_tensors(old / name, state)
        except LdmError:
            return f"{START_AGAIN}, starts again."
        return (
            f"the one before, of step {state.step}, is whole: rename '{old.name}' to "
            f"'{folder.name}' to go on from it; {START_AGAIN}, starts again."
        )
    return f"{START_AGAIN}, starts again."


def _check_steps(folder: Path, done: int, before: int | None, now: int | None) -> None:
    """See that a run can go on to so many steps, and say where that changes its course."""
    if before is None or now is None or before == now:
        return
    if now < done:
        raise LdmError(
            f"{folder} holds a run of {done} steps, more than the {now} that are asked for; ask "
            "for more, give another output folder, or start again",
            START_AGAIN,
        )
    warnings.warn(
        f"the run in {folder} was begun for {before} steps and goes on to {now}: from step {done} "
        f"its learning rate is that of {now} steps, so that it is not the run that {now} steps "
        "from the beginning would be",
        LdmWarning,
        stacklevel=4,
    )


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimizer's state as ``"<parameter number>.<name>"`` to tensor."""
    state = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": torch.as_tensor(value)
        for number, entries in state.items()
        for name, value in entries.items()
    }


def _load_optimizer(
    optimizer: torch.optim.Optimizer,
    kept: dict[int, dict[str, Tensor]],
    parameters: list[Tensor],
) -> None:
    """Take over stored state; each tensor gets the memory layout of its parameter.

    Fused optimizers walk parameter and state through memory side by side, so that a state in
    another layout, such as row-major beside channels-last, would be applied to other weights.
    """
    state = {
        number: {
            name: torch.empty_like(parameters[number]).copy_(value)
            if value.shape == parameters[number].shape
            else value
            for name, value in entries.items()
        }
        for number, entries in kept.items()
    }
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )
