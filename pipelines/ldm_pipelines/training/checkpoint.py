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
from safetensors.torch import load_file, save_file
from torch import Tensor

from ldm_core.errors import LdmError, LdmWarning
from ldm_core.media.partial import partial_folder, to_disk
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
    """Write the state after `step` updates to ``folder``, replacing what was there."""
    old = folder.with_name(folder.name + ".old")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with partial_folder(folder.parent) as fresh:
        save_file(_plain(module.state_dict()), fresh / WEIGHTS)
        save_file(_plain(_optimizer_tensors(optimizer)), fresh / OPTIMIZER)
        if ema is not None:
            save_file(_plain(ema.average), fresh / AVERAGE)
        state = json.dumps({"step": step, "settings": settings}, indent=2) + "\n"
        (fresh / STATE).write_text(state)
        for file in fresh.iterdir():
            to_disk(file)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.replace(folder, old)
        os.replace(fresh, folder)
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

    A run may go on for more steps, or fewer, than it was begun with, which is said.

    Raises:
        LdmError: the checkpoint was made with other settings, or has more steps than are asked for.
    """
    if not (folder / STATE).exists():
        folder = folder.with_name(folder.name + ".old")  # killed between the two renames
        if not (folder / STATE).exists():
            return 0
    state = json.loads((folder / STATE).read_text())
    before = state["settings"]
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
    _check_steps(folder, state["step"], before.get(STEPS), settings.get(STEPS))
    module.load_state_dict(load_file(folder / WEIGHTS))
    _load_optimizer(optimizer, load_file(folder / OPTIMIZER))
    if ema is not None:
        ema.load(load_file(folder / AVERAGE))
    return int(state["step"])


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
        stacklevel=3,
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


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Take over stored state; each tensor gets the memory layout of its parameter.

    Fused optimizers walk parameter and state through memory side by side, so that a state in
    another layout, such as row-major beside channels-last, would be applied to other weights.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        parameter = parameters[int(number)]
        if value.shape == parameter.shape:
            value = torch.empty_like(parameter).copy_(value)
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )
