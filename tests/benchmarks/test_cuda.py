"""The benchmark for GPUs works on a CPU, and says what it did not measure."""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ldm_core.plugins.options import REQUIRED
from ldm_core.plugins.registry import installed

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "cuda.py"
PINS = "constraints.txt"


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    known = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, env=known, check=False)


def report(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text()))


def test_a_stage_measures_on_a_cpu_and_its_figures_become_rows(tmp_path: Path) -> None:
    file = tmp_path / "cuda.json"
    ended = run("--device", "cpu", "--quick", "--stages", "kernels", "--json", file)
    assert ended.returncode == 0, ended.stderr
    stage = report(file)["stages"]["kernels"]
    assert stage["end"] == "done"
    measured = {row["name"].partition(",")[0] for row in stage["rows"] if "error" in row}
    reasons = {r["name"].partition(",")[0]: r.get("not_measured") for r in stage["rows"]}
    kernels = {plugin.name for plugin in installed().of_kind("attention")}
    kernels |= {f"native {backend}" for backend in ("flash", "efficient", "cudnn", "math")}
    assert {"native", "native flash", "native math", "chunked", "sliced"} <= measured
    assert all(reasons[name] for name in kernels - measured)
    assert "needs a device of type cuda" in reasons["native cudnn"]
    rows = {row["name"]: row for row in stage["rows"]}
    # what float32 resolves, and what is left of it in half precision
    assert rows["chunked, float32, 256 tokens"]["error"] < 1e-6
    assert 1e-4 < rows["chunked, bfloat16, 256 tokens"]["error"] < 1e-2
    assert rows["shapes with chunked, float32"]["native"] < 1e-4
    shown = run("--table", file).stdout
    assert "| kernels | chunked, float32, 256 tokens | error " in shown
    assert shown.count("| kernels |") == len(rows)


def test_what_had_no_time_is_said(tmp_path: Path) -> None:
    file = tmp_path / "cuda.json"
    stages = ("--stages", "training", "agreement", "--seconds", "0.000001")
    ended = run("--device", "cpu", "--quick", *stages, "--json", file)
    assert ended.returncode == 0, ended.stderr
    found = report(file)["stages"]
    assert list(found) == ["training", "agreement"]
    for stage in found.values():
        assert all(row["not_measured"] == "the stage's time was up" for row in stage["rows"])
    assert "not measured: the stage's time was up" in run("--table", file).stdout


def test_the_wheels_on_its_top_are_what_the_project_needs_as_it_is_tested() -> None:
    """But torch, which is there, and xformers, of which each has to be of one torch."""
    root = SCRIPT.parents[1]
    top = str(ast.get_docstring(ast.parse(SCRIPT.read_text()))).replace("\\\n", " ")
    commands = [c.partition("#")[0].split() for c in top.splitlines() if "pip wheel" in c]
    wheels = [[w for w in c[2:] if w[0] not in "-." and "wheels" != w != PINS] for c in commands]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    needs = {Requirement(need).name for need in project["dependencies"]}
    assert {*wheels[1]} == needs - {"torch"}
    extras = chain.from_iterable(project["optional-dependencies"].values())
    offered = needs | {Requirement(need).name for need in extras}
    pinned = {
        canonicalize_name(line.partition("==")[0])
        for line in (root / PINS).read_text().splitlines()
        if "==" in line
    }
    named = {*chain.from_iterable(wheels)}
    assert named <= offered
    assert named - pinned == {"xformers"}
    assert all(PINS in command for command in commands[1:])


def test_without_a_device_it_says_so() -> None:
    ended = run("--stages", "kernels", CUDA_VISIBLE_DEVICES="")
    assert (ended.returncode, ended.stdout) == (0, "no CUDA device: not measured\n")


def test_an_unknown_stage_is_refused() -> None:
    ended = run("--stages", "speeed")
    assert ended.returncode == 2
    assert "invalid choice: 'speeed'" in ended.stderr


@pytest.mark.slow
def test_every_stage_measures_on_a_cpu(tmp_path: Path) -> None:
    ended = run(
        "--device", "cpu", "--tiny", "--total", "3600", "--seconds", "600", OUT=str(tmp_path)
    )
    assert ended.returncode == 0, ended.stderr
    measured = report(tmp_path / "cuda.json")
    assert json.loads(ended.stdout.splitlines()[-1]) == measured
    for name, stage in measured["stages"].items():
        assert stage["end"] == "done", (name, stage)
        wrong = [row for row in stage["rows"] if "error" in row and isinstance(row["error"], str)]
        assert not wrong, (name, wrong)


@pytest.mark.slow
def test_large_networks_are_compared_with_diffusers(tmp_path: Path) -> None:
    file = tmp_path / "cuda.json"
    ended = run("--device", "cpu", "--tiny", "--stages", "large", "--json", file)
    assert ended.returncode == 0, ended.stderr
    rows = report(file)["stages"]["large"]["rows"]
    assert [row["name"] for row in rows] == ["SDXL, 4 steps", "Flux, 4 steps"]
    # what is left of bfloat16 after four steps of two programs
    assert all(row["finite"] and row["latents_apart"] < 0.05 for row in rows)


def test_every_converter_has_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a stage lists them that has no time left to measure one."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(SCRIPT.parent)])
    stage, bench = (importlib.import_module(f"on_gpu.{name}") for name in ("converters", "bench"))
    stage.run(bench.Bench("cpu", True, tmp_path / "rows.jsonl", 0.0))
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    converters = {plugin.name for plugin in installed().of_kind("converter")}
    assert converters <= {row["name"].partition(" ")[0] for row in rows}
    assert all(row["not_measured"] for row in rows)
    for name, case in stage.cases(bench.Bench("cpu", True, tmp_path, 0.0), tmp_path).values():
        options = installed().find("converter", name).options
        needed = {n for n, option in options.items() if option.default is REQUIRED}
        assert name in stage.BESIDE or needed <= case.options.keys(), name


@pytest.mark.slow
def test_every_converter_is_compared_with_diffusers(tmp_path: Path) -> None:
    file = tmp_path / "cuda.json"
    ended = run("--device", "cpu", "--tiny", "--stages", "converters", "--json", file)
    assert ended.returncode == 0, ended.stderr
    rows = {row["name"]: row for row in report(file)["stages"]["converters"]["rows"]}
    assert {plugin.name for plugin in installed().of_kind("converter")} <= {
        name.partition(" ")[0] for name in rows
    }
    assert rows["cfg_parallel"]["from_without"] < 0.02
    assert rows["none"]["diffusers_run_s"] > 0
    assert not any("error" in row for row in rows.values())


@pytest.mark.slow
def test_what_makes_a_large_network_faster_keeps_its_latents(tmp_path: Path) -> None:
    file = tmp_path / "cuda.json"
    ended = run("--device", "cpu", "--tiny", "--stages", "fast", "--json", file)
    assert ended.returncode == 0, ended.stderr
    rows = {row["name"]: row for row in report(file)["stages"]["fast"]["rows"]}
    assert not any("error" in row for row in rows.values())
    assert rows["the card and the network"]["teraflop_a_run"] > 0
    for name in ("as it is", "channels_last", "fused_qkv", "prompt_cache", "compile", "whole_loop"):
        # what is left of bfloat16 after two steps of two programs
        assert rows[name]["latents_apart"] < 0.05
        assert rows[name]["over_compiled"] > 0
