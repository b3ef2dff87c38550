"""This process among those that a launcher started with it, told by the environment alone."""

from __future__ import annotations

import os
import re
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
        local_count: how many of them are on this machine; None where the launcher does not say.
    """

    launcher: str
    rank: int
    count: int
    local_rank: int
    local_count: int | None = None

    @property
    def here(self) -> int:
        """How many may be on this machine."""
        return self.count if self.local_count is None else self.local_count


LAUNCHERS = {
    "torchrun": ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    "mpirun": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    "mpiexec": ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),
    "srun": ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
}
"""The variables of rank, count and local rank that each sets; ``accelerate launch`` sets those of
torchrun. A batch script of SLURM that starts no step of several tasks has no count of them."""
LOCAL_COUNTS = {
    "torchrun": "LOCAL_WORLD_SIZE",
    "mpirun": "OMPI_COMM_WORLD_LOCAL_SIZE",
    "mpiexec": "MPI_LOCALNRANKS",
}
"""The variable of how many are on one machine; SLURM has a list of all machines."""
_hidden: list[Launched | None] = []
_starting: list[int] = []


def launched() -> Launched | None:
    """This process, as the first launcher tells that speaks of one; None where none started it."""
    return _hidden[-1] if _hidden else told(os.environ)


def told(environment: Mapping[str, str]) -> Launched | None:
    """What an environment says of its process."""
    for launcher, names in LAUNCHERS.items():
        rank, count, local = (_number(environment.get(name)) for name in names)
        if rank is not None and count is not None and rank < count:
            of_slurm = launcher == "srun"
            if launcher == "mpiexec" and environment.get("SLURM_PROCID") == str(rank):
                of_slurm = local is None  # srun speaks PMI too, and leaves the local rank out
                local = _number(environment.get("SLURM_LOCALID")) if of_slurm else local
            here = (
                _tasks_here(environment)
                if of_slurm
                else _number(environment.get(LOCAL_COUNTS[launcher]))
            )
            return Launched(launcher, rank, count, rank if local is None else local, here)
    return None


def _tasks_here(environment: Mapping[str, str]) -> int | None:
    """How many tasks of a step of SLURM are on this machine, of a list such as ``8(x3),2``."""
    machine, tasks = _number(environment.get("SLURM_NODEID")), list[int]()
    for entry in environment.get("SLURM_STEP_TASKS_PER_NODE", "").split(","):
        several = re.fullmatch(r"([0-9]+)(?:\(x([0-9]+)\))?", entry)
        if several is None:
            return None
        tasks += [int(several[1])] * int(several[2] or 1)
    return None if machine is None or machine >= len(tasks) else tasks[machine]


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


@contextmanager
def starting(count: int) -> Iterator[None]:
    """Count so many processes, which this one is about to start here and checks the work of."""
    _starting.append(count)
    try:
        yield
    finally:
        _starting.pop()


def sharing(devices: int = 1) -> int:
    """How many processes of a launcher have the device that this one has, of so many; where none
    started this one, how many of those that it is about to start will have the fullest."""
    process = launched()
    if process is None:
        return -(-_starting[-1] // devices) if _starting else 1
    mine = process.local_rank % devices
    return max(1, len(range(mine, process.here, devices)))


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
