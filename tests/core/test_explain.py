"""``ldm explain``: what a run would do, told before any weight is read, and drawn."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ldm_core import Pipeline, hookimpl
from ldm_core.cli.explain import describe
from ldm_core.cli.plot import draw
from ldm_core.composition.compose import compose
from ldm_core.contracts import Scheduler
from ldm_core.numerics.point import CLEAN
from ldm_core.plugins.registry import Registry, installed


@pytest.fixture
def explain(ldm: Any, folder: Path) -> Any:
    """Run ``ldm explain`` on the tiny model: (exit code, standard output, error)."""
    return partial(ldm, "explain", "--model", folder)


def report(folder: Path, registry: Registry | None = None, **choices: Any) -> dict[str, Any]:
    layer = {"model": folder, "num_inference_steps": 5, **choices}
    return describe(compose(layer, registry or installed()))


def of_its_own(walk: Any) -> Scheduler:
    return Scheduler(
        walk, points=lambda schedule, steps: [*map(schedule.at, range(steps, 0, -1)), CLEAN]
    )


@of_its_own
def walks_its_own(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
    """Estimate after estimate, on points that come with it."""
    for here in grid[:-1]:
        x = denoise(x, here)
    return x


def relays(
    *,
    first: Scheduler = "euler",  # type: ignore[assignment]
    then: Scheduler | None = None,
    share: float = 0.25,
) -> Scheduler:
    """One scheduler, then another."""
    return first


class Offers:
    """A plugin module with the two schedulers above."""

    ldm_api_version = 2

    @staticmethod
    @hookimpl
    def ldm_schedulers(register: Any) -> None:
        register("walks_its_own", walks_its_own)
        register("relays", relays)


@pytest.fixture
def registry() -> Registry:
    """The installed plugins and two more."""
    from ldm_plugins import plugin

    both = Registry()
    both.add(plugin, "ldm-core", "1")
    both.add(Offers, "mine", "2.0")
    return both


def test_every_stage_is_told_with_its_options(folder: Path) -> None:
    found = report(folder, scheduler={"name": "ddim", "eta": 0.5}, denoisers=["clip_x0"])
    stages = {stage["stage"]: stage for stage in found["stages"]}
    assert set(stages) == {
        "scheduler", "spacing", "guidance", "attention", "encoder", "decoder", "conditioning",
        "denoisers",
    }  # fmt: skip
    assert stages["scheduler"]["options"]["eta"] == 0.5
    assert stages["denoisers"]["options"]["limit"] == 1.0
    assert stages["guidance"]["options"].keys() >= {"scale"}
    by_you = {name for name, stage in stages.items() if stage["chosen_by"] == "you"}
    assert by_you == {"scheduler", "denoisers"}
    assert all(stage["package"].startswith("ldm-core ") for stage in stages.values())
    json.dumps(found)


def test_the_grid_is_that_of_the_size(folder: Path) -> None:
    spacing = {"name": "flow_shift", "base": "trailing", "dynamic": True}
    pipe = Pipeline.from_pretrained(folder, spacing=spacing, num_inference_steps=5)
    ratios = []
    for size in (16, 64):
        found = report(folder, spacing=spacing, width=size, height=size)
        plan = pipe.composition.plan({"prompt": "a"}, [1], {"width": size, "height": size})
        assert [point["t"] for point in found["grid"]] == [p.t for p in plan.grid]
        assert found["size"] == [size, size]
        ratios.append(found["grid"][2]["log_snr"])
    assert ratios[1] < ratios[0]  # more steps at high noise


def test_a_size_that_the_model_cannot_draw_is_refused(explain: Any) -> None:
    code, _, error = explain("--size", "15x16")
    assert code == 2
    assert "multiples of 2" in error


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        (
            "",
            "device auto, weights kept in float32 on a CPU, bfloat16 (float16 on a card without "
            "it) on CUDA, computing in the same",
        ),
        ("--device cpu", "device cpu, weights kept in float32, computing in float32"),
        (
            "--device cuda",
            "device cuda, weights kept in bfloat16 (float16 on a card without it), computing in "
            "the same",
        ),
        (
            "--dtype float16",
            "device auto, weights kept in float16, computing in float32 on a CPU, float16 "
            "elsewhere",
        ),
        (
            "--dtype float16 --device cuda:1",
            "device cuda:1, weights kept in float16, computing in float16",
        ),
        (
            "--dtype float16 --device cpu",
            "device cpu, weights kept in float16, computing in float32",
        ),
        (
            "--dtype bfloat16 --device cuda --compute-dtype float32",
            "device cuda, weights kept in bfloat16, computing in float32",
        ),
    ],
)
def test_device_and_precision_are_told(explain: Any, chosen: str, told: str) -> None:
    code, out, _ = explain("--steps", "2", *chosen.split())
    assert code == 0
    assert f"draws 16x16; {told}" in out.splitlines()


def test_options_that_are_plugins_are_told_with_theirs(folder: Path, registry: Registry) -> None:
    chosen = {"name": "relays", "then": {"name": "ddim", "eta": 0.25}}
    found = report(folder, registry, scheduler=chosen)
    stage = found["stages"][0]
    assert stage["package"] == "mine 2.0"
    assert stage["options"]["first"] == {"name": "euler"}
    assert stage["options"]["then"]["name"] == "ddim"
    assert stage["options"]["then"]["eta"] == 0.25
    assert stage["options"]["share"] == 0.25
    json.dumps(found)


def test_options_that_are_plugins_read_well(explain: Any) -> None:
    code, out, _ = explain("--set", 'scheduler={name="restart", inner="ddim"}', "--steps", "3")
    assert code == 0
    line = next(row for row in out.splitlines() if row.startswith("scheduler\t"))
    assert "inner = ddim (eta = 0.0" in line
    assert "restarts = 2" in line
    assert "{" not in line


def test_a_scheduler_with_its_own_points_uses_no_spacing(folder: Path, registry: Registry) -> None:
    found = report(folder, registry, scheduler="walks_its_own")
    assert [point["t"] for point in found["grid"]] == [5, 4, 3, 2, 1, 0]
    used = {stage["stage"]: stage["used"] for stage in found["stages"]}
    assert used.pop("spacing") is False
    assert all(used.values())
    assert found["grid_by"] == "walks_its_own"
    assert report(folder, spacing="karras")["grid_by"] == "karras"
    figure = draw(found)
    assert "its own points" in figure.get_suptitle()


def test_own_points_are_told_in_words(explain: Any) -> None:
    code, out, _ = explain("--scheduler", "diffusers:DDIMScheduler", "--steps", "3")
    assert code == 0
    assert "not used: the scheduler has its own points" in out
    assert "grid of 3 steps by diffusers:DDIMScheduler" in out
    assert "not linear" in out


def test_the_plot_draws_the_grid(folder: Path) -> None:
    found = report(folder, scheduler="euler", spacing="karras")
    log_snr, end, times = _grid_panel(draw(found))
    assert [y for _, y in log_snr] == pytest.approx([p["log_snr"] for p in found["grid"][:-1]])
    assert [x for x, _ in log_snr] == [0, 1, 2, 3, 4]
    assert end == [(5, 1)]  # no noise: at the top of the frame
    assert times == [(i, pytest.approx(p["t"])) for i, p in enumerate(found["grid"])]


def _grid_panel(figure: Any) -> tuple[Any, Any, Any]:
    left = next(a for a in figure.axes if a.get_title().startswith("grid"))
    right = next(a for a in figure.axes if a.get_ylabel() == "timestep")
    line, *infinite = left.lines
    ends = [tuple(map(float, mark.get_xydata()[0])) for mark in infinite]
    return (
        [tuple(p) for p in line.get_xydata()],
        ends,
        [tuple(p) for p in right.lines[0].get_xydata()],
    )


@pytest.mark.parametrize("scheduler", ["heun", "euler_ancestral"])
def test_the_plot_draws_the_table(folder: Path, scheduler: str) -> None:
    found = report(folder, scheduler=scheduler)
    rows = [row["coefficients"] for row in found["table"]["rows"]]
    figure = draw(found)
    panel = next(a for a in figure.axes if a.images)
    assert panel.images[0].get_array().tolist() == rows
    assert panel.get_xticklabels()[0].get_text() == "x"
    makeup = next(a for a in figure.axes if a.get_title() == "what x is made of")
    lines = {line.get_label(): line.get_ydata() for line in makeup.lines}
    symbols = found["table"]["symbols"]
    estimates = [i for i, symbol in enumerate(symbols) if symbol.startswith("x0[")]
    assert list(lines["start x"]) == [row[0] for row in rows]
    assert list(lines["x0 estimates (sum)"]) == pytest.approx(
        [sum(row[i] for i in estimates) for row in rows]
    )
    drawn = len(symbols) - 1 - len(estimates)
    assert ("noise (root of sum of squares)" in lines) == (drawn > 0)
    if drawn:
        squares = [math.sqrt(sum(c * c for c in row[-drawn:])) for row in rows]
        assert list(lines["noise (root of sum of squares)"]) == pytest.approx(squares)


def test_a_plot_is_a_picture_of_sensible_size(explain: Any) -> None:
    code, out, _ = explain("--steps", "4", "--plot", "run.png")
    assert code == 0
    assert out.splitlines()[-1] == f"plot: {Path('run.png').resolve()}"
    image = Image.open("run.png")
    image.load()
    assert image.format == "PNG"
    assert image.width > 1000 > image.height > 500
    assert len(set(image.convert("L").resize((80, 50)).getdata())) > 5


def test_the_suffix_says_the_format(explain: Any) -> None:
    code, out, err = explain("--steps", "4", "--plot", "run.svg", "--json")
    assert code == 0
    assert Path("run.svg").read_text().startswith("<?xml")
    assert json.loads(out)["num_inference_steps"] == 4
    assert "run.svg" in err
    assert explain("--steps", "1", "--plot", "run.PDF")[0] == 0
    assert Path("run.PDF").read_bytes().startswith(b"%PDF")


def test_a_scheduler_without_a_table_still_plots_its_grid(explain: Any) -> None:
    code, _, _ = explain(
        "--scheduler", "diffusers:DDIMScheduler", "--steps", "3", "--plot", "run.png"
    )
    assert code == 0
    assert Image.open("run.png").width > 500


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("run.gif", "ends in .png, .svg or .pdf, not 'run.gif'"),
        ("run", "ends in .png, .svg or .pdf, not 'run'"),
        ("nowhere/run.png", "there is no folder"),
        ("folder.png", "should be a file, and is a folder"),
    ],
)
def test_a_plot_that_cannot_be_written_is_refused_first(
    explain: Any, path: str, message: str
) -> None:
    Path("folder.png").mkdir()
    # The unknown scheduler is an error too, and would be found later.
    code, out, err = explain("--plot", path, "--scheduler", "no_such")
    assert (code, out) == (2, "")
    assert message in err


def test_a_missing_matplotlib_is_named(explain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *a: None if name == "matplotlib" else find(name, *a),
    )
    code, _, err = explain("--plot", "run.png")
    assert code == 2
    assert "pip install 'ldm-core[plot]'" in err
