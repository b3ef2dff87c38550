"""Processes that a launcher started: which one this is, and that none waits for another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ldm_core.cli.workers import starter
from ldm_core.composition import limits
from ldm_core.composition.compose import compose
from ldm_core.model import place
from ldm_core.model.launched import Launched, apart, launched, own_device, sharing, starting, told
from ldm_core.model.place import resolve
from ldm_core.plugins.registry import installed
from ldm_core.run.memory.plan import Planner

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "nowhere.invalid"}
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
}
INTEL_MPI = {"PMI_RANK": "3", "PMI_SIZE": "4", "MPI_LOCALRANKID": "1"}
SLURM = {"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4", "SLURM_LOCALID": "1"}
THIRD = Launched("mpiexec", 3, 4, 3)


def two_and_two(tasks: str) -> dict[str, str]:
    """The second machine of a step, by how many tasks each has."""
    return {"SLURM_NODEID": "1", "SLURM_STEP_TASKS_PER_NODE": tasks}


@pytest.mark.parametrize(
    ("environment", "process"),
    [
        (TORCHRUN, Launched("torchrun", 3, 4, 1)),
        (OPEN_MPI, Launched("mpirun", 3, 4, 1)),
        (INTEL_MPI, Launched("mpiexec", 3, 4, 1)),
        (SLURM, Launched("srun", 3, 4, 1)),
        ({**SLURM, **TORCHRUN, "RANK": "0"}, Launched("torchrun", 0, 4, 1)),
        ({"PMI_RANK": "3", "PMI_SIZE": "4"}, Launched("mpiexec", 3, 4, 3)),
        ({**SLURM, "PMI_RANK": "3", "PMI_SIZE": "4"}, Launched("mpiexec", 3, 4, 1)),
        ({"PMI_RANK": "3", "PMI_SIZE": "4", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}, THIRD),
        ({**TORCHRUN, "LOCAL_WORLD_SIZE": "2"}, Launched("torchrun", 3, 4, 1, 2)),
        ({**OPEN_MPI, "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, Launched("mpirun", 3, 4, 1, 2)),
        ({**INTEL_MPI, "MPI_LOCALNRANKS": "2"}, Launched("mpiexec", 3, 4, 1, 2)),
        ({**SLURM, **two_and_two("2(x2)")}, Launched("srun", 3, 4, 1, 2)),
        ({**SLURM, **two_and_two("1,3")}, Launched("srun", 3, 4, 1, 3)),
        ({**SLURM, **two_and_two("1(x1),")}, Launched("srun", 3, 4, 1)),
        ({**SLURM, **two_and_two("2")}, Launched("srun", 3, 4, 1)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_LOCALID": "0"}, None),  # a batch script
        ({"RANK": "3"}, None),
        ({"RANK": "4", "WORLD_SIZE": "4"}, None),
        ({"RANK": "a", "WORLD_SIZE": "4"}, None),
        ({}, None),
    ],
)
def test_a_launcher_says_which_process_it_is(
    environment: dict[str, str], process: Launched | None
) -> None:
    assert told(environment) == process


@pytest.mark.parametrize("count", [1, 2, 8])
def test_each_process_has_the_device_of_its_local_rank(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.delenv("ACCELERATE_TORCH_DEVICE", raising=False)
    monkeypatch.setattr(
        torch.accelerator, "current_accelerator", lambda check_available: torch.device("cuda")
    )
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)
    devices = [own_device(Launched("torchrun", rank, 4, rank)) for rank in range(4)]
    assert [device.index for device in devices] == [rank % count for rank in range(4)]
    assert {device.type for device in devices} == {"cuda"}
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert own_device(Launched("torchrun", 1, 4, 1)) == torch.device("cpu")


def test_a_device_without_a_number_is_that_of_the_local_rank(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ACCELERATE_TORCH_DEVICE", raising=False)
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: cuda)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 4)
    monkeypatch.setattr(torch, "empty", lambda *sizes, device: None)
    named = {"dtype": "float32", "compute_dtype": "float32"}
    assert resolve({**named, "device": "cuda"}).device == cuda  # started by nobody
    for name, value in {**TORCHRUN, "LOCAL_RANK": "3"}.items():
        monkeypatch.setenv(name, value)
    found = {"auto": "cuda:3", "cuda": "cuda:3", "cuda:1": "cuda:1", "mps": "mps", "cpu": "cpu"}
    for name, device in found.items():
        assert resolve({**named, "device": name}).device == torch.device(device)
    with apart():
        assert resolve({**named, "device": "cuda"}).device.index == 3


def test_the_place_of_a_process_needs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address of the first process is nowhere: who joins the group does not get past here."""
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert resolve({}).device == torch.device("cpu")
    assert not torch.distributed.is_initialized()


def test_apart_no_library_hears_of_the_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (TORCHRUN | SLURM).items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    with apart() as process:
        assert told(os.environ) is None
        assert launched() == process == Launched("torchrun", 3, 4, 1)
    assert dict(os.environ) == before


@pytest.mark.parametrize("command", ["generate", "interpolate"])
def test_one_run_of_several_processes_is_refused(
    ldm: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    words = ["a star"] if command == "generate" else ["a star", "a circle"]
    run = (command, *words, "--model", folder, "--steps", 1)
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    code, out, err = ldm(*run)
    assert (code, out) == (2, "")
    assert "4 processes were started together (srun), and each of them would make every" in err
    assert not Path("pictures").exists()
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    assert ldm(*run)[0] == 0


@pytest.mark.parametrize(
    ("environment", "several"),
    [
        ({}, [1, 1, 1]),
        (TORCHRUN, [4, 2, 1]),
        ({**TORCHRUN, "LOCAL_WORLD_SIZE": "3"}, [3, 1, 1]),
        ({**TORCHRUN, "LOCAL_WORLD_SIZE": "3", "LOCAL_RANK": "0"}, [3, 2, 1]),
    ],
)
def test_what_is_free_is_shared_among_the_processes_that_take_of_it(
    environment: dict[str, str], several: list[int], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert [sharing(devices) for devices in (1, 2, 4)] == several
    monkeypatch.setattr(limits, "available_bytes", lambda: 12 * 2**30)
    chosen = {"model": folder, "device": "cpu"}
    automatic = Planner.of(compose({**chosen, "memory": "auto"}, installed()))
    assert automatic.budget() == (12 * 2**30 // several[0], True)
    with starting(3):  # counts where nobody started this process
        assert sharing() == (several[0] if environment else 3)
        assert sharing(2) == (several[1] if environment else 2)
    each = Planner.of(compose({**chosen, "memory": "8GiB"}, installed()))
    assert each.budget() == (8 * 2**30, False)
    monkeypatch.setattr(place, "free_bytes", lambda recipe: 12 * 2**30)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    on_two = Planner.of(compose({"model": folder, "memory": "auto"}, installed()))
    assert on_two.budget() == (12 * 2**30 // several[1], True)


def test_workers_of_several_processes_on_one_machine_are_refused(
    ldm: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = tmp_path / "a.txt"
    lines.write_text("a star\n")
    run = ("generate", "--prompts", lines, "--model", folder, "--workers", 2)
    for name, value in {**SLURM, **two_and_two("2(x2)")}.items():
        monkeypatch.setenv(name, value)
    code, out, err = ldm(*run)
    assert (code, out) == (2, "")
    assert "4 processes were started together (srun), several of them on one machine" in err
    assert not Path("pictures").exists()
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", "3,1")
    assert starter("local", 2) is not None


def test_the_package_is_the_command_line() -> None:
    run = [sys.executable, "-m", "ldm_core", "plugins", "list", "--kind", "writer", "--json"]
    end = subprocess.run(run, capture_output=True, text=True, check=True)
    assert {"jpg", "png", "webp"} <= {plugin["name"] for plugin in json.loads(end.stdout)}
