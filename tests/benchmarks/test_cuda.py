"""The benchmark for GPUs works on a CPU, and says what it did not measure."""

from __future__ import annotations

import ast
import importlib
import json
import math
import os
import runpy
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
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
    rows = ("--only", "*, float32*", "chunked, bfloat16*")
    ended = run("--device", "cpu", "--quick", "--stages", "kernels", *rows, "--json", file)
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


def test_rows_that_no_stage_has_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    main = runpy.run_path(str(SCRIPT))["main"]
    monkeypatch.setitem(main.__globals__, "measure", lambda *_: {"stages": {"half": {"rows": []}}})
    monkeypatch.setattr(sys, "argv", ["cuda.py", "--only", "denoizer*"])
    with pytest.raises(SystemExit, match=r"no row is named denoizer\*"):
        main()


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """The module of a stage by its name."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(SCRIPT.parent)])
    return lambda name: importlib.import_module(f"on_gpu.{name}")


def rows_of(stage: Any, bench: Any) -> dict[str, dict[str, Any]]:
    """What a stage measures in this process, by the names of the rows."""
    stage.run(bench)
    rows = [json.loads(line) for line in bench.rows.read_text().splitlines()]
    assert not any(isinstance(row.get("error"), str) for row in rows), rows
    return {row["name"]: row for row in rows}


SAMPLES: dict[str, dict[str, tuple[str, float]]] = {
    "agreement": {"digits": ("diffusers_here", 1e-5)},
    "choices": {
        "family DiT": ("pictures", 1e-5),
        "scheduler unipc": ("cpu", 1e-5),
        "spacing karras": ("cpu", 1e-5),
        "guidance renormed": ("cpu", 1e-5),
        "attention chunked": ("cpu", 1e-5),
        "conditioning mask": ("cpu", 1e-5),
        "converter lora": ("cpu", 1e-5),
    },
    "converters": {"channels_last": ("from_without", 0.02)},
    "fast": {
        "all parts offloaded": ("vae_gib", 0.1),
        "Diffusers": ("latents_apart", 0.05),
        "--fast": ("latents_apart", 0.05),
        "lossless": ("latents_apart", 0.05),
    },
    "half": {"a call, bfloat16": ("error", 0.05)},
    "large": {"SDXL, 4 steps": ("latents_apart", 0.05)},
    "speed": {"25 steps, bfloat16, batch 1": ("latents_apart", 0.05)},
    "training": {"denoiser, bf16": ("batch", 8)},
}
"""Of each stage some rows, and a figure that they tell, at most: what float32 resolves, and what is
left of it in bfloat16. Every row is measured in the slow test below."""
OTHERS = {"kernels": "measured above", "marked": "measured below", "suite": "measured below"}


@pytest.mark.parametrize("name", SAMPLES)
def test_every_stage_measures_a_sample(name: str, on_gpu: Any, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    bench = on_gpu("bench").Bench("cpu", True, rows, math.inf, tuple(SAMPLES[name]))
    found = rows_of(on_gpu(name), bench)
    assert found.keys() == SAMPLES[name].keys()
    for row, (figure, limit) in SAMPLES[name].items():
        assert 0 <= found[row][figure] <= limit, found[row]


def test_the_samples_are_of_every_stage() -> None:
    script = runpy.run_path(str(SCRIPT))
    assert script["STAGES"].keys() == SAMPLES.keys() | OTHERS.keys()
    # so that none takes another's time away
    assert sum(script["STAGES"].values()) <= script["TOTAL"] <= 8 * 60


def test_stages_that_run_tests_count_how_they_ended(
    on_gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test that passes, one that fails, one that is left out, and one that asks for CUDA."""
    file = tmp_path / "tests" / "plugins" / "test_guidance.py"
    file.parent.mkdir(parents=True)
    file.write_text(
        "import pytest\n\n\ndef test_a():\n    pass\n\n\ndef test_b():\n    assert 1 == 2\n\n\n"
        "def test_c():\n    pytest.skip('no')\n\n\n@pytest.mark.gpu\ndef test_d():\n    pass\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    gpu\n    slow\n")
    for name, counted in {
        "suite": {"passed": 1, "failed": 1, "skipped": 1},
        "marked": {"passed": 1},
    }.items():
        stage, bench = on_gpu(name), on_gpu("bench").Bench
        monkeypatch.setattr(stage, "ROOT", tmp_path)
        monkeypatch.setattr(on_gpu("suite"), "ROOT", tmp_path)
        deadline = time.monotonic() + 600
        (row,) = rows_of(stage, bench("cpu", True, tmp_path / name, deadline)).values()
        assert {how: row.get(how, 0) for how in counted} == counted
        assert len(row["failures"]) == counted.get("failed", 0)
        assert row["end"] == "done"


def test_every_converter_has_a_row(tmp_path: Path, on_gpu: Any) -> None:
    """As a stage lists them that has no time left to measure one."""
    stage, bench = on_gpu("converters"), on_gpu("bench")
    rows = rows_of(stage, bench.Bench("cpu", True, tmp_path / "rows.jsonl", 0.0))
    converters = {plugin.name for plugin in installed().of_kind("converter")}
    assert converters <= {name.partition(" ")[0] for name in rows}
    assert all(row["not_measured"] for row in rows.values())
    for name, case in stage.cases(bench.Bench("cpu", True, tmp_path, 0.0), tmp_path).values():
        options = installed().find("converter", name).options
        needed = {n for n, option in options.items() if option.default is REQUIRED}
        assert name in stage.BESIDE or needed <= case.options.keys(), name


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every stage's report, at tiny sizes."""
    place = tmp_path_factory.mktemp("out")
    ended = run("--device", "cpu", "--tiny", "--total", "7200", "--seconds", "1800", OUT=str(place))
    assert ended.returncode == 0, ended.stderr
    found = report(place / "cuda.json")
    assert json.loads(ended.stdout.splitlines()[-1]) == found
    return dict(found["stages"])


def named(stage: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in stage["rows"]}


@pytest.mark.slow
def test_every_stage_measures_on_a_cpu(measured: dict[str, Any]) -> None:
    assert measured.keys() == SAMPLES.keys() | OTHERS.keys()
    for name, stage in measured.items():
        assert stage["end"] == "done", (name, stage)
        wrong = [row for row in stage["rows"] if isinstance(row.get("error"), str)]
        assert not wrong, (name, wrong)


@pytest.mark.slow
def test_large_networks_are_compared_with_diffusers(measured: dict[str, Any]) -> None:
    rows = named(measured["large"])
    assert list(rows) == ["SDXL, 4 steps", "Flux, 4 steps"]
    # what is left of bfloat16 after four steps of two programs
    assert all(row["finite"] and row["latents_apart"] < 0.05 for row in rows.values())


@pytest.mark.slow
def test_every_converter_is_compared_with_diffusers(measured: dict[str, Any]) -> None:
    rows = named(measured["converters"])
    assert {plugin.name for plugin in installed().of_kind("converter")} <= {
        name.partition(" ")[0] for name in rows
    }
    assert rows["cfg_parallel"]["from_without"] < 0.02
    assert rows["none"]["diffusers_run_s"] > 0


@pytest.mark.slow
def test_what_makes_a_large_network_faster_keeps_its_latents(measured: dict[str, Any]) -> None:
    rows = named(measured["fast"])
    assert rows["the card and the network"]["teraflop_a_run"] > 0
    names = ("--fast", "lossless", "as it is", "channels_last", "fused_qkv", "prompt_cache")
    for name in (*names, "compile", "whole_loop"):
        # what is left of bfloat16 after two steps of two programs
        assert rows[name]["latents_apart"] < 0.05
        assert rows[name]["over_compiled"] > 0
