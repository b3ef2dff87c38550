"""Processes that share a job's folder make the same files as one, whichever of them dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ldm_core.composition import limits
from ldm_core.jobs.processes import environment
from ldm_core.plugins import discovery

PLUGIN = """
from ldm_core import hookimpl

ldm_api = ">=2,<3"


@hookimpl
def ldm_schedulers(register):
    register("filed", lambda x, grid, denoise, noise: denoise(x, grid[0]))
"""


def command(path: Path, folder: Path, out: Path, *more: str) -> list[str]:
    words = ["generate", "--prompts", path, "--model", folder, "--seed", "1", "--batch-size", "2"]
    return [sys.executable, "-m", "ldm_core", *map(str, words), "--out", str(out), *more]


def write(place: Path, count: int) -> Path:
    lines = [{"prompt": f"a {i}", "steps": 1 + i % 2} for i in range(count)]
    path = place / "a.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_two_processes_make_the_files_that_one_makes(
    ldm: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a plugin of a file, which each of them is told."""
    path, plugin = write(tmp_path, 8), tmp_path / "told_to_each.py"
    plugin.write_text(PLUGIN)
    monkeypatch.setattr(discovery, "_files", ())
    filed = ("--plugin", str(plugin), "--scheduler", "filed")
    code, _, err = ldm(*command(path, folder, tmp_path / "one", *filed)[3:])
    assert code == 0, err
    run = subprocess.run(
        command(path, folder, tmp_path / "two", "--workers", "2", *filed),
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    one = {file.name: file.read_bytes() for file in (tmp_path / "one").glob("*.png")}
    two = {file.name: file.read_bytes() for file in (tmp_path / "two").glob("*.png")}
    assert one == two
    assert sorted(run.stdout.split()) == sorted(str(tmp_path / "two" / name) for name in two)
    lines = (tmp_path / "two" / "results.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["index"] for line in lines) == list(range(8))


def test_lines_fit_the_share_of_each_before_any_is_started(
    ldm: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what is free, which one process has alone."""
    path, free = write(tmp_path, 2), 500_000
    monkeypatch.setattr(limits, "available_bytes", lambda: free)
    words = [*command(path, folder, tmp_path / "out", "--memory", "auto")[3:], "--batch-size", "1"]
    code, _, err = ldm(*words, "--workers", "2")
    assert code == 2
    assert "244 KiB are free; so it is with each line" in err, err
    assert not (tmp_path / "out").exists()
    code, _, err = ldm(*words)
    assert code == 0, err


@pytest.mark.slow
def test_the_work_of_one_that_dies_is_taken_by_the_other(folder: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(write(tmp_path, 60), folder, tmp_path / "out", "--workers", "2"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()  # work has begun
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    _, error = process.communicate()
    assert process.returncode == 0, error
    assert "was ended by SIGKILL; the other one goes on with its work" in error
    assert len(list((tmp_path / "out").glob("*.png"))) == 60


@pytest.mark.slow
def test_workers_whose_starter_is_killed_end_after_their_batches(
    folder: Path, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        command(write(tmp_path, 2000), folder, tmp_path / "out", "--workers", "2"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.communicate()
    end = time.monotonic() + 300
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < end
        time.sleep(0.1)
    lines = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    assert 0 < len(lines) < 2000
    assert len({json.loads(line)["index"] for line in lines}) == len(lines)


@pytest.mark.parametrize("count", [2, 3])
def test_each_process_has_a_rank_and_its_share_of_the_processors(count: int) -> None:
    processors = len(os.sched_getaffinity(0))
    several = [environment({"A": "b"}, number, count, 7) for number in range(count)]
    assert [one["LOCAL_RANK"] for one in several] == [str(number) for number in range(count)]
    assert {one["WORLD_SIZE"] for one in several} == {str(count)}
    assert {one["LOCAL_WORLD_SIZE"] for one in several} == {str(count)}
    assert environment({}, 0, count, 7, alone=True)["LOCAL_WORLD_SIZE"] == "1"
    assert {one["OMP_NUM_THREADS"] for one in several} == {str(max(1, processors // count))}
    assert environment({"OMP_NUM_THREADS": "5"}, 0, count, 7)["OMP_NUM_THREADS"] == "5"
