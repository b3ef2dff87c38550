"""Which calls compute features: against all choices, and against errors that are put in by hand."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor

from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.composition.parts import make
from ldm_core.conformance.trace import trace
from ldm_core.contracts import Scheduler
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.noise_schedule import FlowSchedule, vp_schedule
from ldm_core.numerics.point import CLEAN, Point
from ldm_core.numerics.prediction import PREDICTION_TYPES
from ldm_core.plugins.registry import installed
from ldm_plugins.converters.shared.reuse_plan import best_calls, calls_to_compute, end_weights

SCHEDULERS = ("euler", "ddim", "heun", "dpmpp_2m", "unipc", "deis", "lms")


def scheduler(name: str) -> Scheduler:
    made: Scheduler = make("scheduler", {"name": name}, installed(), [], {})
    return made


def grid(path: str, steps: int) -> Grid:
    schedule = FlowSchedule() if path == "flow" else vp_schedule()
    ts = torch.linspace(0.98, 0.02, steps).tolist()
    points = [schedule.at(schedule.first + t * (schedule.last - schedule.first)) for t in ts]
    return Grid([*points, CLEAN], schedule)


def end(walk: Scheduler, points: Grid, prediction: str, wrong: int | None) -> float:
    """Where a scheduler ends on Gaussian data of unit variance, whose denoiser is known, with an
    error of 1 in what the network answers at one of the calls."""
    kind, calls = PREDICTION_TYPES[prediction], 0

    def denoise(x: Tensor, point: Point) -> Tensor:
        nonlocal calls
        x0 = point.alpha / (point.alpha**2 + point.sigma**2) * x
        output = kind.from_x0(x0, x, point) + (1.0 if calls == wrong else 0.0)
        calls += 1
        return kind.to_x0(output, x, point)

    x = torch.ones(1, 1, dtype=torch.float64)
    return float(walk.walk(x, points, denoise, lambda: torch.zeros_like(x)))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "flow"])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_weight_is_how_far_the_end_moves(name: str, prediction: str) -> None:
    walk, points = scheduler(name), grid("flow" if prediction == "flow" else "vp", 9)
    traced = trace(walk, points)
    weights = end_weights(traced, PREDICTION_TYPES[prediction])
    right = end(walk, points, prediction, None)
    moved = [abs(end(walk, points, prediction, i) - right) for i in range(len(traced.calls))]
    assert weights == pytest.approx(moved, rel=1e-6, abs=1e-9)
    assert max(moved) > 0.05


@pytest.mark.parametrize(("calls", "computed"), [(6, 3), (7, 2), (5, 5), (9, 4), (4, 1)])
def test_no_other_choice_costs_less(calls: int, computed: int) -> None:
    costs = torch.rand(calls, calls, generator=torch.Generator().manual_seed(calls)).tolist()

    def total(chosen: tuple[int, ...]) -> float:
        last, cost = 0, 0.0
        for i in range(calls):
            last, cost = (i, cost) if i in chosen else (last, cost + costs[last][i])
        return cost

    best = best_calls(costs, computed)
    assert best[0] == 0
    assert len(best) == computed
    others = (c for c in combinations(range(calls), computed) if c[0] == 0)
    assert total(tuple(best)) == pytest.approx(min(map(total, others)))


@pytest.mark.parametrize("every", [1, 2, 3, 5])
def test_as_many_calls_as_every_so_many(every: int) -> None:
    traced = trace(scheduler("dpmpp_2m"), grid("vp", 25))
    free = [True] * 25
    chosen = calls_to_compute(traced, PREDICTION_TYPES["epsilon"], every, free)
    assert len(chosen) == len(range(0, 25, every))
    bound = [i % 4 != 3 for i in range(25)]
    forced = calls_to_compute(traced, PREDICTION_TYPES["epsilon"], 25, bound)
    assert {i for i in range(25) if i % 4 == 3} <= set(forced)


@pytest.mark.parametrize("name", ["euler", "heun", "unipc", "euler_ancestral"])
def test_a_run_computes_these_calls(pipe: Pipeline, name: str) -> None:
    choice = {"name": "feature_cache", "every": 3, "choose": "scheduler"}
    chosen = pipe.replace(scheduler=name, converters=[choice])
    plan = chosen.composition.plan({"prompt": ["a"], "negative_prompt": [None]}, [0], {}, 10)
    traced = trace(chosen.composition.scheduler, plan.grid)
    prediction = chosen.composition.info.prediction_type
    calls = calls_to_compute(traced, prediction, 3, [True] * len(traced.calls))
    unet: Any = chosen.model.parts["unet"].module
    seen: list[bool] = []
    unet.conv_in.register_forward_pre_hook(lambda module, args: seen.append(False))
    deep = unet.mid_block.resnets[0]
    deep.register_forward_pre_hook(lambda module, args: seen.__setitem__(-1, True))
    chosen.sample(plan)
    assert [i for i, whole in enumerate(seen) if whole] == calls


def test_a_scheduler_that_is_not_linear_is_refused(pipe: Pipeline) -> None:
    def bent(x: Tensor, grid: Grid, denoise: Any, noise: Any) -> Tensor:
        for point in grid[:-1]:
            x = torch.tanh(denoise(x, point))
        return x

    choice = {"name": "feature_cache", "choose": "scheduler"}
    with pytest.raises(LdmError, match="cannot choose by this scheduler"):
        pipe.replace(scheduler=bent, converters=[choice])
    with pytest.raises(LdmError, match="cannot choose by this scheduler"):  # no weights are read
        compose({"model": "shapes", "scheduler": "dpm_adaptive", "converters": [choice]})
    pipe.replace(scheduler=bent, converters=[{**choice, "every": 1}])  # which computes all
