"""The figures of speed are kept part by part, and the page says what they are."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """
import json, sys
from pathlib import Path
figures = {"machine": "a processor, 2 cores, Python 3", "told": sys.argv[1:-2]}
if "crash" not in sys.argv:
    Path(sys.argv[-1]).write_text(json.dumps(figures))
sys.exit("crash" in sys.argv)
"""


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """A benchmark by its name."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT / "benchmarks")])
    return importlib.import_module


@pytest.fixture
def collect(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """Measures parts whose script says what it was told; the file's figures."""
    speed, script = module("speed"), tmp_path / "script.py"
    script.write_text(SCRIPT)
    parts = {"walk": [str(script), "a"], "step": [str(script)], "real": [str(script), "crash"]}
    monkeypatch.setattr(speed, "PARTS", parts)

    def run(*arguments: str) -> dict[str, Any]:
        file = tmp_path / "speed.json"
        monkeypatch.setattr(sys, "argv", ["speed.py", "--json", str(file), *arguments])
        speed.main()
        return dict(json.loads(file.read_text()))

    return run


def test_a_part_that_is_measured_again_takes_its_own_place_alone(collect: Any) -> None:
    first = collect("--parts", "walk", "step", "--rounds", "3")
    assert first["walk"]["figures"]["told"] == ["a", "--rounds", "3"]
    assert first["step"]["figures"]["told"] == []  # its rounds are its own
    assert first["walk"]["command"] == "python benchmarks/FOLDER a --rounds 3"
    second = collect("--parts", "walk", "--rounds", "5")
    assert second["walk"]["figures"]["told"] == ["a", "--rounds", "5"]
    assert second["step"] == first["step"]


def test_a_part_that_fails_keeps_what_was_measured_before(
    collect: Any, module: Any, tmp_path: Path
) -> None:
    before = collect("--parts", "step")
    with pytest.raises(SystemExit, match="failed or missed an aim: real"):
        collect("--parts", "real")
    assert json.loads((tmp_path / "speed.json").read_text()) == before


def test_no_page_is_drawn_of_nothing(collect: Any) -> None:
    with pytest.raises(SystemExit, match="holds no figures"):
        collect("--page")


def test_figures_of_two_machines_are_not_mixed(collect: Any, tmp_path: Path) -> None:
    file, other = tmp_path / "speed.json", {"figures": {"machine": "another, 2 cores, Python 3"}}
    file.write_text(json.dumps({"step": other}))
    with pytest.raises(SystemExit, match="holds figures of another machine"):
        collect("--parts", "walk")
    assert json.loads(file.read_text()) == {"step": other}


def test_the_page_is_drawn_of_the_figures_beside_it_and_all_parts_are_in_it(module: Any) -> None:
    place = ROOT / "docs" / "reference"
    figures = json.loads((place / "speed.json").read_text())
    written = (place / "speed.md").read_text()
    assert module("speed_page").text(figures) == written
    assert figures.keys() == module("speed").PARTS.keys()
    shapes = figures["shapes"]["figures"]["shapes"]["batch 1"]["float32"]
    assert f"| {shapes['processor']:.3f} | {shapes['seconds']:.3f} |" in written


def test_the_first_call_is_in_no_median(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ways of known seconds: the first compiles for 100 and then takes 2, 4 and 6, its peer
    50 and then 4, 4 and 4, each twice as many of a processor."""
    timing = module("timing")
    clock = {"own": iter((100.0, 2.0, 4.0, 6.0)), "peer": iter((50.0, 4.0, 4.0, 4.0))}

    def spent(way: Callable[[], str]) -> Any:
        seconds = next(clock[way()])
        return timing.Spent(seconds, 2 * seconds)

    monkeypatch.setattr(timing, "spent", spent)
    found = timing.in_turns({"peer": lambda: "peer", "own": lambda: "own"}, "peer", 3)["own"]
    assert found == {
        "seconds": 4.0,
        "processor": 8.0,
        "ratio": 1.0,
        "processor_ratio": 1.0,
        "first_seconds": 100.0,
        "first_processor": 200.0,
    }
