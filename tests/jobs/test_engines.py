"""Whoever starts the processes of a job, and however many: the files are the same."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from forked import Server, output_of

MODULE = ("-m", "ldm_core")
LDM = (sys.executable, *MODULE)
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", *MODULE)
ACCELERATE = (
    *(sys.executable, "-m", "accelerate.commands.launch"),
    *("--multi_gpu", "--num_processes", "2", *MODULE),
)
WAYS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "two processes": (LDM, ("--workers", "2")),
    "three processes": (LDM, ("--workers", "3")),
    "torchrun": (TORCHRUN, ()),
    "accelerate": (ACCELERATE, ()),
    "ray": (LDM, ("--engine", "ray", "--workers", "2")),
}
RAY = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="the package ray is not installed"
)


def start(way: Sequence[str], options: Sequence[str], place: Path) -> subprocess.Popen[str]:
    """A command, which is its own session, so that nothing that it leaves lives on."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    return subprocess.Popen(
        [*way, *options],
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(way: Sequence[str], options: Sequence[str], place: Path) -> tuple[str, str]:
    """What a command prints, which must end well."""
    process = start(way, options, place)
    try:
        out, err = process.communicate(timeout=1200)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, err
    return out, err


def pixels(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))}


def check_ledger(folder: Path, count: int) -> None:
    """Every picture has one line, which says what its file is."""
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert sorted(line["index"] for line in lines) == list(range(count))
    for line in lines:
        assert hashlib.sha256((folder / line["file"]).read_bytes()).hexdigest() == line["sha256"]


def write_job(place: Path, folder: Path, count: int) -> list[str]:
    """A file of lines that differ in what a batch must share, and the options of the job."""
    lines: list[dict[str, Any]] = []
    for i in range(count):
        line: dict[str, Any] = {
            "prompt": f"a star, number {i}",
            "width": (16, 24)[i % 2],
            "height": (16, 24, 32)[i // 2 % 3],
            "steps": (1, 2, 3)[i // 5 % 3],
            "scheduler": ("euler", "dpmpp_2m", "euler_ancestral", "ddim")[i // 3 % 4],
        }
        if i % 3:
            line["seed"] = 1000 + i
        lines.append(line)
    (place / "lines.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return [
        *("generate", "--prompts", "lines.jsonl", "--model", str(folder)),
        *("--seed", "7", "--batch-size", "4"),
    ]


def compare(
    ways: Sequence[str],
    place: Path,
    folder: Path,
    count: int,
    alone: Callable[[Sequence[str]], Any] | None = None,
) -> None:
    """See that the ways make the files that one process makes, which ``alone(options)`` runs."""
    options = write_job(place, folder, count)
    one_process = alone or (lambda options: run(LDM, options, place))
    one_process([*options, "--out", "one"])
    one = pixels(place / "one")
    assert len(one) == count
    for number, name in enumerate(ways):
        way, more = WAYS[name]
        out, _ = run(way, [*options, *more, "--out", f"out{number}"], place)
        several = pixels(place / f"out{number}")
        assert several.keys() == one.keys()
        for file, array in one.items():
            assert np.array_equal(several[file], array), (name, file)
        check_ledger(place / f"out{number}", count)
        assert sorted(out.split()) == sorted(f"out{number}/{file}" for file in one), name


def test_two_processes_under_a_launcher_make_what_one_makes(
    tmp_path: Path, folder: Path, server: Server
) -> None:
    def alone(options: Sequence[str]) -> None:
        pid = server.start(options, tmp_path)
        assert server.wait(pid) == 0, output_of(tmp_path, pid)

    compare(["torchrun"], tmp_path, folder, 12, alone)


@pytest.mark.slow
@pytest.mark.parametrize("way", [pytest.param(w, marks=RAY if w == "ray" else ()) for w in WAYS])
def test_240_lines_are_the_same_however_they_are_made(
    tmp_path: Path, folder: Path, way: str
) -> None:
    compare([way], tmp_path, folder, 240)


@RAY
@pytest.mark.slow
@pytest.mark.parametrize("what", ["ray::Host", "ldm_core"])
def test_an_actor_that_dies_is_replaced(tmp_path: Path, folder: Path, what: str) -> None:
    """Either the actor is killed or the process that it runs."""
    count = 60
    options = write_job(tmp_path, folder, count)
    way, more = WAYS["ray"]
    process = start(way, [*options, *more, "--out", "out"], tmp_path)
    try:
        assert process.stdout is not None
        process.stdout.readline()  # the first picture
        for child in psutil.Process(process.pid).children(recursive=True):
            command = " ".join(child.cmdline())
            if what in command and "raylet" not in command and "wait" not in command:
                child.kill()
                break
        else:
            raise AssertionError("there is no such process")
        _, err = process.communicate(timeout=600)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, err
    assert "another takes its place" in err
    assert len(pixels(tmp_path / "out")) == count
    check_ledger(tmp_path / "out", count)


def test_what_runs_no_job_is_refused(ldm: Any, folder: Path) -> None:
    Path("lines.txt").write_text("a star\n")
    run = ("generate", "--prompts", "lines.txt", "--model", folder)
    code, _, err = ldm(*run, "--engine", "rai")
    assert code == 2
    assert "no engine 'rai'. Did you mean 'ray'? There are local and ray." in err
    code, _, err = ldm("generate", "a star", "--model", folder, "--engine", "ray")
    assert code == 2
    assert "--engine is for a job" in err


def test_ray_that_is_not_installed_is_said(
    ldm: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    Path("lines.txt").write_text("a star\n")
    code, _, err = ldm("generate", "--prompts", "lines.txt", "--model", folder, "--engine", "ray")
    assert code == 2
    assert "pip install 'ldm-core[ray]'" in err
    assert not list(Path("pictures").glob("*.png"))
