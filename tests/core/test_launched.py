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

from ldm_core.model.launched import Launched, apart, launched, own_device, told
from ldm_core.model.place import resolve

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "nowhere.invalid"}
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
}
INTEL_MPI = {"PMI_RANK": "3", "PMI_SIZE": "4", "MPI_LOCALRANKID": "1"}
SLURM = {"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4", "SLURM_LOCALID": "1"}


@pytest.mark.parametrize(
    ("environment", "process"),
    [
        (TORCHRUN, Launched("torchrun", 3, 4, 1)),
        (OPEN_MPI, Launched("mpirun", 3, 4, 1)),
        (INTEL_MPI, Launched("mpiexec", 3, 4, 1)),
        (SLURM, Launched("srun", 3, 4, 1)),
        ({**SLURM, **TORCHRUN, "RANK": "0"}, Launched("torchrun", 0, 4, 1)),
        ({"PMI_RANK": "3", "PMI_SIZE": "4"}, Launched("mpiexec", 3, 4, 3)),
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


def test_the_package_is_the_command_line() -> None:
    run = [sys.executable, "-m", "ldm_core", "plugins", "list", "--kind", "writer", "--json"]
    end = subprocess.run(run, capture_output=True, text=True, check=True)
    assert {"jpg", "png", "webp"} <= {plugin["name"] for plugin in json.loads(end.stdout)}
