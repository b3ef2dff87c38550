"""This process among those that a launcher started with it, told by the environment alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Launched:
    """A process that a launcher started.

    Attributes:
        launcher: its name.
        rank: the number of this process among all of them, from 0.
        count: how many there are.
        local_rank: its number among those on this machine.
    """

    launcher: str
    rank: int
    count: int
    local_rank: int


LAUNCHERS = {
    "torchrun": ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    "mpirun": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    "mpiexec": ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),
    "srun": ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
}
"""The variables of rank, count and local rank that each sets; ``accelerate launch`` sets those of
torchrun. A batch script of SLURM that starts no step of several tasks has no count of them."""
_hidden: list[Launched | None] = []


def launched() -> Launched | None:
    """This process, as the first launcher tells that speaks of one; None where none started it."""
    return _hidden[-1] if _hidden else told(os.environ)


def told(environment: Mapping[str, str]) -> Launched | None:
    """What an environment says of its process."""
    for launcher, names in LAUNCHERS.items():
        rank, count, local = (_number(environment.get(name)) for name in names)
        if rank is not None and count is not None and rank < count:
            return Launched(launcher, rank, count, rank if local is None else local)
    return None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdecimal() else None


@contextmanager
def apart() -> Iterator[Launched | None]:
    """Have this process to itself: no library in it, told by the launcher's variables, joins the
    others in a process group, which waits for all of them. `launched` still says which it is."""
    process = launched()
    names = [name for several in LAUNCHERS.values() for name in several]
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    _hidden.append(process)
    try:
        yield process
    finally:
        _hidden.pop()
        os.environ.update(kept)


def own_device(process: Launched) -> torch.device:
    """The device of a process that a launcher started: that of its local rank, without joining the
    others; what the environment asks of Accelerate comes first."""
    import torch

    if name := os.environ.get("ACCELERATE_TORCH_DEVICE"):
        return torch.device(name)
    on_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes", "on")
    accelerator = None if on_cpu else torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return torch.device("cpu")
    return numbered(accelerator.type, process)


def numbered(kind: str, process: Launched) -> torch.device:
    """The device of a kind that a process has by its local rank; the one of that kind where there
    are no several of it."""
    import torch

    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None or accelerator.type != kind:
        return torch.device(kind)
    return torch.device(kind, process.local_rank % max(1, torch.accelerator.device_count()))
