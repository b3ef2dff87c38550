"""How schedulers converge: orders on data whose solution is known, from one start, and what cannot
be compared is refused."""

from __future__ import annotations

import csv
import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ldm_core import Pipeline
from ldm_core.errors import LdmError
from ldm_pipelines.convergence.command import read_schedulers, read_steps
from ldm_pipelines.convergence.measuring import converge
from ldm_pipelines.convergence.orders import measured_order
from ldm_pipelines.convergence.report import as_json
from ldm_pipelines.convergence.stretches import stretch_between

FIVE = {"euler": 1, "heun": 2, "dpmpp_2m": 2, "unipc": 2, "deis": 2}
"""The orders that their authors state; unipc's with the step of order one at its end."""
MORE = {"ddim": 1, "res_2s": 2, "dpm_2": 2, "gauss_legendre_2s": 4}


@pytest.fixture(scope="module")
def pipe() -> Pipeline:
    return Pipeline.from_pretrained("shapes", guidance="none")


def scheduler_like_euler(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
    for here, there in pairwise(grid):
        kept = there.sigma / here.sigma
        x = kept * x + (there.alpha - kept * here.alpha) * denoise(x, here)
    return x


@pytest.mark.parametrize("path", ["own", "vp", "ve", "flow"])
def test_orders_on_gaussian_data_are_the_stated_ones(pipe: Pipeline, path: Any) -> None:
    found = converge(pipe, [*FIVE, *MORE], gaussian=path)
    (measured,) = found.stretches
    assert measured.error == 0
    orders = {curve.scheduler: curve.order.value for curve in measured.curves}
    assert orders == {n: pytest.approx(stated, abs=0.2) for n, stated in (FIVE | MORE).items()}
    assert {c.scheduler: c.declared for c in measured.curves} == FIVE | MORE
    heun = next(curve for curve in measured.curves if curve.scheduler == "heun")
    assert [row.evaluations for row in heun.rows] == [2 * row.steps for row in heun.rows]


def test_distances_are_those_of_an_euler_walk_in_numpy(pipe: Pipeline) -> None:
    """On a flow, x = (1 - s)·x0 + s·noise, from log-SNR -4 to 4."""
    (measured,) = converge(pipe, ["euler"], gaussian="flow", steps=[5, 20]).stretches
    stds, scores = np.array([0.3, 0.5, 0.7, 0.9])[:, None], np.linspace(-1.5, 1.5, 7)

    def spread(s: float) -> Any:
        return np.sqrt((1 - s) ** 2 * stds**2 + s**2)

    for row in measured.curves[0].rows:
        levels = 1 / (1 + np.exp(np.linspace(-4, 4, row.steps + 1) / 2))
        x = (1 - levels[0]) * 0.7 + spread(levels[0]) * scores
        for s, next_s in pairwise(levels):
            slope = ((s - (1 - s) * stds**2) / spread(s) ** 2) * (x - (1 - s) * 0.7) - 0.7
            x = x + (next_s - s) * slope
        exact = (1 - levels[-1]) * 0.7 + spread(levels[-1]) * scores
        expected = np.sqrt(np.mean((x - exact) ** 2) / np.mean(exact**2))
        assert row.distance == pytest.approx(expected, rel=1e-9)


def test_all_walk_from_one_x_between_the_same_points(pipe: Pipeline) -> None:
    """Also those that would choose other points and another start by themselves."""
    seen = []

    def seeing(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
        seen.append((x.clone(), grid[0], grid[-1], len(grid) - 1))
        return scheduler_like_euler(x, grid, denoise, noise)

    converge(
        pipe, [seeing], steps=[1, 2], reference=4, first=0.0, last=2.0, inputs={"prompt": "a star"}
    )
    (first, one_start, one_end, _), (second, other_start, other_end, _) = seen
    assert first.equal(second)
    assert (one_start, one_end) == (other_start, other_end)
    assert [count for *_, count in seen] == [1, 2]
    assert 2 * one_start.half_log_snr == pytest.approx(0)
    assert 2 * one_end.half_log_snr == pytest.approx(2)


def test_a_reference_is_not_further_off_than_is_said(pipe: Pipeline) -> None:
    (exact,) = converge(pipe, ["dpmpp_3m"], gaussian="vp", steps=[256]).stretches
    (fine,) = converge(pipe, ["euler"], gaussian="vp", steps=[4], reference=256).stretches
    assert exact.curves[0].rows[0].distance <= fine.error < 1e-5
    assert "256 steps" in fine.reference


def test_what_converges_elsewhere_has_no_order(pipe: Pipeline) -> None:
    def off(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
        return scheduler_like_euler(x, grid, denoise, noise) * 1.05

    (measured,) = converge(pipe, [off], gaussian="own", steps=read_steps("4:256")).stretches
    assert measured.curves[0].order.value is None
    assert "does not fall" in measured.curves[0].order.why


def test_what_diverges_says_so_in_json(pipe: Pipeline) -> None:
    def diverging(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
        return scheduler_like_euler(x, grid, denoise, noise) * math.inf

    text = as_json(converge(pipe, [diverging], gaussian="own", steps=[4, 8, 16]))
    read = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    (curve,) = read["stretches"][0]["curves"]
    assert {row["distance"] for row in curve["rows"]} <= {"inf", "nan"}
    assert curve["order"]["why"] == "3 of 3 walks end in no finite numbers"


def test_an_order_is_fitted_to_the_straight_part_above_the_reference_error() -> None:
    steps = [4, 8, 16, 32, 64, 128, 256]
    cubic = [5 * n**-3.0 + 1e-6 for n in steps]
    bent = [0.9, 0.8, *cubic[2:]]
    order = measured_order(steps, bent, 1e-6)
    assert order.steps == (16, 64)  # 5·128^-3 is 2.4e-6, less than ten times the error
    assert order.value == pytest.approx(3, abs=0.05)
    assert measured_order(steps, cubic, 1.0).value is None
    assert "reference's own error" in measured_order(steps, cubic, 1.0).why
    assert "too few" in measured_order([4, 8], [1.0, 0.5], 0).why
    assert measured_order(steps, [math.nan, *cubic[1:]], 1e-6).value is not None
    lost = measured_order(steps, [math.inf, math.nan, 1e9, *[math.inf] * 4], 1e-6)
    assert str(lost) == "none: 6 of 7 walks end in no finite numbers"


def test_the_last_stretch_of_a_trained_model_shows_orders(pipe: Pipeline) -> None:
    (measured,) = converge(
        pipe, ["euler", "heun"], steps=[8, 16, 32], reference=256, first=4.0, last=6.0
    ).stretches
    assert [curve.order.value for curve in measured.curves] == [
        pytest.approx(1, abs=0.2),
        pytest.approx(2, abs=0.2),
    ]
    assert 0 < measured.error < 1e-5


@pytest.mark.slow
def test_orders_on_shapes_are_the_stated_ones(tmp_path: Path, ldm: Any) -> None:
    code, out, _ = ldm("converge", "--schedulers", ",".join(FIVE), "--json", "--reference", 1000)
    assert code == 0
    whole, last = json.loads(out)["stretches"]
    assert (whole["name"], last["name"]) == ("whole way", "last stretch")
    assert {c["scheduler"]: c["order"]["value"] for c in last["curves"]} == {
        name: pytest.approx(stated, abs=0.2) for name, stated in FIVE.items()
    }


def drawing(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
    return scheduler_like_euler(x, grid, denoise, noise) + noise()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"schedulers": ["ddpm"]}, "draws noise on the way"),
        ({"schedulers": [{"name": "ddim", "eta": 0.5}]}, "draws noise on the way"),
        ({"schedulers": [drawing]}, "draws noise on the way"),
        ({"schedulers": ["lcm"]}, "draws noise on the way"),
        ({"schedulers": ["pndms"]}, "no scheduler named"),
        ({"schedulers": ["euler", "euler"]}, "named twice"),
        ({"schedulers": []}, "no scheduler is named"),
        ({"steps": [8, 4]}, "rise"),
        ({"reference": 64}, "is not fine beside walks of 64"),
        ({"steps": [600]}, "want a reference of 6000"),
        ({"first": -40.0}, "outside the noise schedule"),
        ({"first": math.nan}, "finite number"),
        ({"first": 3.0, "last": 1.0}, "from more noise to less"),
        ({"num_images": 0}, "one image at least"),
    ],
    ids=lambda value: str(value).partition(" at 0x")[0],
)
def test_what_means_nothing_is_refused(pipe: Pipeline, given: Any, words: str) -> None:
    with pytest.raises(LdmError, match=words):
        converge(pipe, **{"gaussian": "own", **given})


def test_steps_are_read() -> None:
    assert read_steps("4:64") == [4, 6, 8, 12, 16, 24, 32, 48, 64]
    assert read_steps("5:30") == [5, 10, 15, 20, 30]
    assert read_steps("4:20:8") == [4, 12, 20]
    assert read_steps("3, 7,20") == [3, 7, 20]
    for text in ("64:4", "4:8:2:1", "four", "4:", "0:4", "8,4", "4,4", "4:8:0", "4,5:6"):
        with pytest.raises(LdmError):
            read_steps(text)
    with pytest.raises(LdmError, match="a table stands by itself"):
        read_schedulers(['a,{name = "c"}'])
    assert read_schedulers(["a,b", '{name = "c", order = 3}']) == [
        *("a", "b"),
        {"name": "c", "order": 3},
    ]


def test_the_command_prints_and_writes(ldm: Any, tmp_path: Path) -> None:
    plot, table = tmp_path / "c.png", tmp_path / "c.csv"
    options = ["--gaussian", "own", "--schedulers", "euler,ddim", "--steps", "4,8,16"]
    code, out, err = ldm("converge", *options, "--plot", plot, "--table", table)
    assert code == 0, err
    assert "without noise, eta = 0" in out
    assert "4, 8, 16 steps" in err
    assert plot.read_bytes().startswith(b"\x89PNG")
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [(r["scheduler"], r["steps"]) for r in rows] == [
        (name, n) for name in ("euler", "ddim") for n in ("4", "8", "16")
    ]
    assert float(rows[0]["distance"]) == pytest.approx(float(rows[3]["distance"]))  # are one method
    assert ldm("converge", *options, "--table", table)[0] == 2
    assert ldm("converge", *options, "--plot", tmp_path / "c.gif")[0] == 2
    assert ldm("converge", "a star", *options)[0] == 2
    code, out, err = ldm("converge", *options, "--json", "--scheduler", "heun")
    assert "the scheduler 'heun' has no part in this" in err
    curves = json.loads(out)["stretches"][0]["curves"]
    assert [row["evaluations"] for row in curves[0]["rows"]] == [4, 8, 16]


def test_x_is_kept_in_float64_around_the_network(pipe: Pipeline) -> None:
    seen = []

    def seeing(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
        seen.append(x.dtype)
        end = scheduler_like_euler(x, grid, denoise, noise)
        seen.append(end.dtype)
        return end

    converge(pipe, [seeing], steps=[1], reference=4, first=5.0, last=6.0)
    assert seen == [torch.float64] * 2


@pytest.mark.parametrize("spacing", ["log-snr", "timestep", "karras"])
def test_steps_are_even_in_what_they_are_said_to_be(pipe: Pipeline, spacing: Any) -> None:
    stretch = stretch_between(pipe.composition.info.noise_schedule, -4.0, 4.0, spacing)
    points = stretch.grid(5)
    ratios = np.array([p.sigma / p.alpha for p in points])
    assert ratios[[0, -1]] == pytest.approx([math.exp(2), math.exp(-2)])
    along = {
        "log-snr": np.log(ratios),
        "timestep": np.array([p.t for p in points]),
        "karras": ratios ** (1 / 7),
    }[spacing]
    np.testing.assert_allclose(np.diff(along), (along[-1] - along[0]) / 5, rtol=1e-6)


def test_it_begins_from_the_seed_that_is_named(ldm: Any, folder: Path) -> None:
    run = ["converge", "a", "--model", folder, "--steps", "1,2", "--reference", 4, "--end", 0]
    rows = {}
    for seed in (0, 5):
        code, out, _ = ldm(*run, "--seed", seed, "--json", "-q")
        assert code == 0
        (curve,) = json.loads(out)["stretches"][0]["curves"]
        rows[seed] = [row["distance"] for row in curve["rows"]]
    assert rows[0] != rows[5]
