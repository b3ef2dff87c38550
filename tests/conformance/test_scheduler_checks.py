"""Each check of schedulers sees one that is wrong in its way, and says nothing of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch

from ldm_core.conformance.kinds import checks_of_kind
from ldm_core.contracts import as_scheduler, nonlinear, of_order, starts_with, stochastic
from ldm_core.numerics.moves import move
from ldm_core.numerics.point import Point
from tiny.covering import some_of
from wrong_plugins import failed, results_of


@pytest.fixture(autouse=True, scope="module")
def few_steps() -> Iterator[None]:
    checks_of_kind("scheduler")
    import ldm_core.conformance.kinds.scheduler as checks

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "STEPS", (1, 100))
        yield


def right(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
    """DDIM."""
    for here, there in pairwise(grid):
        x = move(x, denoise(x, here), here, there)
    return x


def stepping(step: Callable[..., Any]) -> Callable[..., Any]:
    """A scheduler of ``step(x, x0, here, there, noise)``."""

    def walk(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
        """A wrong one."""
        for here, there in pairwise(grid):
            x = step(x, denoise(x, here), here, there, noise)
        return x

    return walk


def ancestral(factor: float) -> Callable[..., Any]:
    """All noise is drawn anew at each step: x = alpha·x0 + sigma·noise, of too large an x0 where
    the factor is not one, as a rule that no limit of many steps makes right."""

    def step(x: Any, x0: Any, here: Point, there: Point, noise: Any) -> Any:
        return there.alpha * x0 + factor * there.sigma * noise()

    return stochastic(stepping(step))


def lazy_first(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
    """It leaves the last step out."""
    return right(x, grid[:-1], denoise, noise) if len(grid) > 2 else right(x, grid, denoise, noise)


def beyond(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
    """It asks where the network was never trained."""
    first = grid[0]
    denoise(x, replace(first, alpha=first.alpha / 2, sigma=first.sigma * 1.5 + 0.1))
    return right(x, grid, denoise, noise)


def impatient(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
    """It knows few steps."""
    if len(grid) > 50:
        raise RuntimeError("too many steps")
    return right(x, grid, denoise, noise)


class Remembering:
    """Each of its walks goes on from where the last one was."""

    def __init__(self) -> None:
        self.walks = 0

    def __call__(self, x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
        self.walks += 1
        return right(x * (1 + 0.01 * self.walks), grid, denoise, noise)


def into_x(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
    """It works in place."""
    for here, there in pairwise(grid):
        x.copy_(move(x, denoise(x, here), here, there))
    return x


def by_sigma(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
    """It divides by alpha, which two paths start with as zero."""
    for here, there in pairwise(grid):
        x0 = denoise(x, here)
        slope = (x / here.alpha - x0) / (here.sigma / here.alpha)
        x = there.alpha * (x0 + slope * there.sigma / there.alpha)
    return x


def rounding(x: Any, x0: Any, here: Point, there: Point, noise: Any) -> Any:
    return move(x.float(), x0.float(), here, there)


def by_the_batch(x: Any, x0: Any, here: Point, there: Point, noise: Any) -> Any:
    return move(x, x0, here, there) + 1e-3 * there.sigma * (x0 - x0.mean())


def by_the_world(x: Any, x0: Any, here: Point, there: Point, noise: Any) -> Any:
    return move(x, x0, here, there) + 0.01 * there.sigma * torch.randn_like(x)


def into_the_estimate(x: Any, x0: Any, here: Point, there: Point, noise: Any) -> Any:
    end = move(x, x0, here, there)
    x0.mul_(0.5)
    return end


def into_the_noise(x: Any, x0: Any, here: Point, there: Point, noise: Any) -> Any:
    drawn = noise().mul_(there.sigma * 0.01)
    return move(x, x0, here, there) + drawn


def one_ahead(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
    for here, there in pairwise(grid):
        x = move(x, denoise(x, there if there.sigma else here), here, there)
    return x


def twice(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
    for here, there in pairwise(grid):
        denoise(x, here)
        x = move(x, denoise(x, here), here, there)
    return x


def with_gradients(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
    torch.set_grad_enabled(True)
    return right(x, grid, denoise, noise)


def with_a_hook(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
    torch.nn.modules.module.register_module_forward_hook(lambda *a: None)
    return right(x, grid, denoise, noise)


def seeding(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
    torch.manual_seed(0)
    return right(x, grid, denoise, noise)


def repeated(points: Any) -> Any:
    return replace(as_scheduler(right), points=points)


def rising(schedule: Any, steps: int) -> Any:
    points = [schedule.at(schedule.last * (i + 1) / (steps + 1)) for i in range(steps)]
    return [*points, Point(1.0, 0.0, 0.0)]


def weary(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
    """Goes to the end at once where little noise is left."""
    for here, there in pairwise(grid):
        if here.t < 20:
            return move(x, denoise(x, here), here, grid[-1])
        x = move(x, denoise(x, here), here, there)
    return x


WRONG: dict[str, tuple[Callable[[], Any], set[str]]] = {
    "right": (lambda: of_order(1)(right), set()),
    "another order": (lambda: of_order(2)(right), {"order"}),
    "float32 alone": (lambda: nonlinear(stepping(rounding)), {"float64"}),
    "by the batch": (lambda: nonlinear(stepping(by_the_batch)), {"each_image_alone"}),
    "global noise": (
        lambda: nonlinear(stepping(by_the_world)),
        {"float64", "global_seed", "repeats", "each_image_alone", "shared_state"},
    ),
    "in place": (lambda: nonlinear(into_x), {"writes_nothing"}),
    "into x0": (lambda: nonlinear(stepping(into_the_estimate)), {"writes_nothing"}),
    "into noise": (lambda: nonlinear(stochastic(stepping(into_the_noise))), {"writes_nothing"}),
    "unsaid draws": (
        lambda: stepping(lambda x, x0, a, b, noise: move(x, x0, a, b) + 0 * noise()),
        {"stochastic"},
    ),
    "unsaid curve": (
        lambda: stepping(lambda x, x0, a, b, noise: move(x, x0.tanh(), a, b)),
        {"linear", "constant_x0", "moments"},
    ),
    "too much noise": (lambda: ancestral(1.5), {"moments"}),
    "no last step": (lambda: lazy_first, {"constant_x0"}),
    "beyond": (lambda: beyond, {"points", "answers_used"}),
    "weary": (lambda: of_order(1)(weary), {"last_steps"}),
    "weary, of no declared order": (lambda: weary, {"last_steps"}),
    "impatient": (lambda: impatient, {"steps", "last_steps", "moments"}),
    "remembering": (Remembering, {"repeats", "float64", "each_image_alone", "moments"}),
    "noise that never comes": (lambda: stochastic(right), {"stochastic"}),
    "asks at the next point": (lambda: nonlinear(one_ahead), {"points"}),
    "asks twice for nothing": (lambda: twice, {"answers_used"}),
    "leaves gradients on": (lambda: nonlinear(with_gradients), {"shared_state"}),
    "leaves a hook": (lambda: nonlinear(with_a_hook), {"shared_state"}),
    "seeds all": (lambda: nonlinear(seeding), {"global_seed", "shared_state"}),
    "large start": (lambda: starts_with(lambda first, last: 10.0)(right), {"start"}),
    "rising points": (lambda: repeated(rising), {"own_points"}),
}


@pytest.mark.parametrize("name", some_of(WRONG, 0, 2))
def test_a_wrong_scheduler_fails_its_check_and_no_other(name: str) -> None:
    make, expected = WRONG[name]
    reasons = failed("scheduler", make())
    assert set(reasons) == expected, reasons


def test_what_is_no_number_where_the_signal_is_zero_is_seen() -> None:
    reasons = failed("scheduler", by_sigma)
    assert "ZeroDivisionError" in reasons["shape_and_type"]


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (lambda x: (x,), "gives tuple"),
        (lambda x: x[:1], "gives a shape of"),
        (lambda x: x.half(), "gives torch.float16"),
        (lambda x: x * float("nan"), "not finite"),
    ],
)
def test_what_comes_back_is_seen(end: Any, said: str) -> None:
    def walk(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
        return end(right(x, grid, denoise, noise))

    assert said in failed("scheduler", walk)["shape_and_type"]


def test_every_check_of_schedulers_is_seen_to_fail() -> None:
    seen = {name for _, expected in WRONG.values() for name in expected} | {"shape_and_type"}
    assert seen == {check.name for check in checks_of_kind("scheduler")}


def test_each_check_gives_a_figure_or_says_why_it_sees_nothing() -> None:
    for result in results_of("scheduler", of_order(1)(right)).values():
        assert result.figure or result.outcome == "skipped", result
        assert result.outcome != "skipped" or result.reason, result
        assert "\n" not in str(result)
