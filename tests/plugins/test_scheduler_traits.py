"""What schedulers say of themselves, and that whatever walks by them says it too.

The traits expected are stated here by hand, for every scheduler and for every one that walks by
others: each trait is kept, or the scheduler is refused with a reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.composition.parts import make
from ldm_core.composition.recipe import as_choice
from ldm_core.conformance.trace import trace
from ldm_core.contracts import (
    Denoise,
    Grid,
    ModelInfo,
    Noise,
    Scheduler,
    Walk,
    as_scheduler,
    goes_with,
    of_order,
    stochastic,
)
from ldm_core.errors import LdmError
from ldm_core.numerics.noise_schedule import vp_schedule
from ldm_core.numerics.point import CLEAN
from ldm_core.plugins.registry import installed

VP = vp_schedule()
NOISIEST = VP.at(VP.last)
GRID = Grid([*map(VP.at, (999, 800, 600, 400, 200, 50)), CLEAN], VP)
SIGMA = 0.9977
"""At the end of Stable Diffusion's path: how Karras et al.'s samplers start there."""


@dataclass(frozen=True)
class Traits:
    """What is expected of a scheduler.

    Attributes:
        start: standard deviation of the first x at the end of Stable Diffusion's path.
        draws: options with which it draws noise; None where it never does.
        own_points: it walks no others, and is fitted to the model.
    """

    start: float = 1.0
    order: int | None = None
    draws: dict[str, Any] | None = None
    needs_variance: bool = False
    own_points: bool = False

    @property
    def stochastic(self) -> bool:
        return self.draws is not None


ALWAYS: dict[str, Any] = {}
SWITCH = {"name": "switch", "first": "heun", "then": "ddpm"}
OF_DIFFUSERS = Traits(draws=ALWAYS, own_points=True)
LEARNED = {"name": "diffusers:DDPMScheduler", "config": {"variance_type": "learned_range"}}
SCHEDULERS: list[tuple[str | dict[str, Any], Traits]] = [
    ("churn", Traits(SIGMA, draws=ALWAYS)),
    ({"name": "churn", "inner": "res_2s"}, Traits(draws=ALWAYS)),
    ("consistency", Traits(SIGMA, draws=ALWAYS)),
    ("ddim", Traits(order=1, draws={"eta": 0.3})),
    ("ddpm", Traits(order=1, draws=ALWAYS)),
    (
        {"name": "ddpm", "variance": "learned_range"},
        Traits(order=1, draws=ALWAYS, needs_variance=True),
    ),
    ({"name": "ddpm", "variance": "learned"}, Traits(order=1, draws=ALWAYS, needs_variance=True)),
    ("deis", Traits(order=2)),
    ("dpm_2", Traits(SIGMA, order=2)),
    ("dpm_2_ancestral", Traits(SIGMA, order=2, draws=ALWAYS)),
    ("dpm_adaptive", Traits(SIGMA)),
    ("dpmpp_2m", Traits(order=2)),
    ("dpmpp_2m_sde", Traits(order=2, draws=ALWAYS)),
    ("dpmpp_3m", Traits()),
    ("dpmpp_3m_sde", Traits(order=2, draws=ALWAYS)),
    ("dpmpp_sde", Traits(SIGMA, order=2, draws=ALWAYS)),
    ("dpmpp_single", Traits(draws={"eta": 1.0})),
    ("er_sde", Traits(draws=ALWAYS)),
    ("euler", Traits(SIGMA, order=1)),
    ("euler_ancestral", Traits(SIGMA, order=1, draws=ALWAYS)),
    ("exp_heun_2_x0", Traits(order=2)),
    ("exp_heun_2_x0_sde", Traits(order=2, draws=ALWAYS)),
    ("gauss_legendre_2s", Traits(SIGMA, order=4)),
    ("gradient_estimation", Traits(SIGMA, order=1)),
    ("heun", Traits(SIGMA, order=2)),
    ("heunpp2", Traits(SIGMA, order=1)),
    ("ipndm", Traits()),
    ("ipndm_v", Traits()),
    ("lcm", Traits(draws=ALWAYS)),
    ("lms", Traits(SIGMA)),
    ("pndm", Traits(order=2)),
    ("radau_iia_2s", Traits(SIGMA, order=3)),
    ("res_2s", Traits(order=2)),
    ("res_3s", Traits(order=3)),
    ("res_5s", Traits(order=4)),
    ("res_multistep", Traits()),
    ("restart", Traits(SIGMA, draws=ALWAYS)),
    ({"name": "restart", "inner": "dpmpp_2m"}, Traits(draws=ALWAYS)),
    ("sa_solver", Traits(draws=ALWAYS)),
    ("seeds_2", Traits(order=2, draws=ALWAYS)),
    ("seeds_3", Traits(order=2, draws=ALWAYS)),
    (SWITCH, Traits(SIGMA, draws=ALWAYS)),
    ({**SWITCH, "then": "dpmpp_2m"}, Traits(SIGMA)),
    ("tcd", Traits(draws=ALWAYS)),
    ("unipc", Traits(order=2)),
    ("torchdiffeq:rk4", Traits(SIGMA)),
    ("diffusers:DDIMScheduler", OF_DIFFUSERS),
    ("diffusers:EulerDiscreteScheduler", replace(OF_DIFFUSERS, start=SIGMA)),
    (LEARNED, replace(OF_DIFFUSERS, needs_variance=True)),
]
"""Every scheduler that ships, with the traits that it has."""


def name_of(choice: Any) -> str:
    return str(as_choice("scheduler", choice)["name"])


def scheduler(choice: Any, **options: Any) -> Scheduler:
    """As a recipe's choice is made."""
    chosen = {**as_choice("scheduler", choice), **options}
    part = make("scheduler", chosen, installed(), [], {})
    assert isinstance(part, Scheduler)
    return part


def start_of(part: Scheduler) -> float:
    """The standard deviation of the first x where a run begins at the end of the path."""
    first = NOISIEST if part.points is None else part.points(VP, 5)[0]
    return part.start(first, NOISIEST)


every_scheduler = pytest.mark.parametrize(
    ("choice", "traits"), [pytest.param(*row, id=str(row[0])) for row in SCHEDULERS]
)


def test_every_scheduler_is_in_the_table() -> None:
    ours = {p.name for p in installed().of_kind("scheduler") if p.distribution == "ldm-core"}
    listed = {name_of(choice) for choice, _ in SCHEDULERS}
    assert {name.partition(":")[0] + ":" if ":" in name else name for name in listed} == ours


@every_scheduler
def test_a_scheduler_says_what_it_is(choice: Any, traits: Traits) -> None:
    part = scheduler(choice)
    assert start_of(part) == pytest.approx(traits.start, abs=5e-5)
    assert part.order == traits.order
    assert part.stochastic == traits.stochastic
    assert part.needs_variance == traits.needs_variance
    assert (part.points is not None) == traits.own_points
    assert (part.fit is not None) == traits.own_points


@every_scheduler
def test_noise_is_drawn_where_it_says_so_alone(choice: Any, traits: Traits) -> None:
    of_table = scheduler(choice).linear and ":" not in name_of(choice)
    if traits.own_points or traits.needs_variance or not of_table:
        return  # they have no table of coefficients
    table = trace(scheduler(choice, **(traits.draws or {})), GRID)
    assert (table.noises > 0) == traits.stochastic


# --- those that walk by others


def plain(x: Any, grid: Grid, denoise: Denoise, noise: Noise) -> Any:
    """A plugin that says nothing of itself."""
    return denoise(x, grid[0])


def twice(*, inner: Scheduler, at: float = 0.7) -> Scheduler:
    """The guide's own example: walk the last part of the grid twice, with noise added between."""

    def walk(inner: Walk) -> Walk:
        def walk_again(x: Any, grid: Grid, denoise: Denoise, noise: Noise) -> Any:
            x = inner(x, grid, denoise, noise)
            again = grid[int(at * (len(grid) - 1)) :]
            start, end = again[0], grid[-1]
            x = start.alpha / end.alpha * x + start.sigma * noise()
            return inner(x, again, denoise, noise)

        return walk_again

    return stochastic(Scheduler.around("twice", walk, inner))


def mirrored(*, inner: Scheduler) -> Scheduler:
    """Walks the whole grid by another, with x and x0 negated."""

    def walk(inner: Walk) -> Walk:
        def walk_mirrored(x: Any, grid: Grid, denoise: Denoise, noise: Noise) -> Any:
            return -inner(-x, grid, lambda x, point: -denoise(-x, point), noise)

        return walk_mirrored

    return Scheduler.around("mirrored", walk, inner, whole=True)


@dataclass(frozen=True)
class Around:
    """A scheduler around another, and which traits of the inner one are expected of it.

    Attributes:
        starts: it starts as the inner one does, and wants the same spacing.
        draws: it draws noise itself.
        whole: it can walk points that are the inner one's own.
    """

    make: Callable[[Any], Scheduler]
    starts: bool = True
    draws: bool = False
    whole: bool = False


AROUND = {
    "switch, first": Around(lambda inner: scheduler("switch", first=inner, then=plain)),
    "switch, then": Around(
        lambda inner: scheduler("switch", first=plain, then=inner), starts=False
    ),
    "switch, then alone": Around(
        lambda inner: scheduler("switch", first=plain, then=inner, at=0.0)
    ),
    "switch, first alone": Around(
        lambda inner: scheduler("switch", first=inner, then=plain, at=1.0)
    ),
    "restart": Around(lambda inner: scheduler("restart", inner=inner), draws=True),
    "twice": Around(lambda inner: twice(inner=scheduler(inner)), draws=True),
    "mirrored": Around(lambda inner: mirrored(inner=scheduler(inner)), whole=True),
    "switch in restart": Around(
        lambda inner: scheduler(
            "restart", inner={"name": "switch", "first": inner, "then": "dpmpp_2m"}
        ),
        draws=True,
    ),
}


@pytest.mark.parametrize("around", AROUND)
@every_scheduler
def test_every_trait_is_kept_or_refused(choice: Any, traits: Traits, around: str) -> None:
    outer = AROUND[around]
    if traits.own_points and not outer.whole:
        with pytest.raises(LdmError, match="only walks points of its own"):
            outer.make(choice)
        return
    part = outer.make(choice)
    assert start_of(part) == pytest.approx(traits.start if outer.starts else 1.0, abs=5e-5)
    assert part.stochastic == (traits.stochastic or outer.draws)
    assert part.needs_variance == traits.needs_variance
    assert (part.points is not None) == traits.own_points
    assert (part.fit is not None) == traits.own_points
    assert part.order is None


@pytest.mark.parametrize("around", AROUND)
def test_the_walk_is_the_inner_ones(around: str) -> None:
    """By its table of coefficients: another method inside gives another one outside."""
    euler, heun = (trace(AROUND[around].make(name), GRID) for name in ("euler", "heun"))
    assert len(heun.calls) > len(euler.calls)


def other_grid(info: ModelInfo) -> str:
    return "karras"


@goes_with(other_grid)
@of_order(3)
def fitted(x: Any, grid: Grid, denoise: Denoise, noise: Noise) -> Any:
    """Draws, once it is fitted."""
    return denoise(x, grid[0]) + noise()


FITTED = replace(
    as_scheduler(fitted), start=lambda first, last: 0.25, stochastic=True, needs_variance=True
)
WANTS_A_MODEL = Scheduler(plain, fit=lambda info: FITTED)


@pytest.mark.parametrize("around", AROUND)
def test_what_is_inside_is_fitted_to_the_model(around: str, pipe: Pipeline) -> None:
    """And all that the inner one then says is said; nothing that the outer one says is lost."""
    outer, info = AROUND[around], pipe.composition.info
    before = outer.make(WANTS_A_MODEL)
    part = before.fitted(info)
    assert (before.needs_variance, part.needs_variance) == (False, True)
    assert (before.stochastic, part.stochastic) == (outer.draws, True)
    assert start_of(part) == (0.25 if outer.starts else 1.0)
    assert part.fit is None
    if outer.starts:
        assert part.spacing is not None
        assert part.spacing(info) == "karras"
    else:
        assert part.spacing is None
    assert trace(part, GRID).noises > trace(before, GRID).noises


def test_what_draws_by_itself_does_so_once_fitted(pipe: Pipeline) -> None:
    quiet = Scheduler(plain, fit=lambda info: Scheduler(plain))
    assert scheduler("restart", inner=quiet).fitted(pipe.composition.info).stochastic
    assert not mirrored(inner=quiet).fitted(pipe.composition.info).stochastic


@pytest.mark.parametrize("around", AROUND)
def test_what_does_not_fit_inside_does_not_fit(around: str, folder: Path) -> None:
    def fit(info: ModelInfo) -> Scheduler:
        raise LdmError(f"not for the family {info.family}.")

    part = AROUND[around].make(Scheduler(plain, fit=fit))
    with pytest.raises(LdmError, match="not for the family stable_diffusion"):
        compose({"model": str(folder), "scheduler": part}, installed())


@pytest.mark.parametrize("around", ["switch, first", "switch, then", "restart", "twice"])
def test_a_model_without_a_variance_is_refused(around: str, folder: Path) -> None:
    part = AROUND[around].make({"name": "ddpm", "variance": "learned_range"})
    with pytest.raises(LdmError, match="predicts no variance"):
        compose({"model": str(folder), "scheduler": part}, installed())


def test_a_run_starts_as_the_inner_scheduler_does(pipe: Pipeline) -> None:
    """The guide's example around Euler, on the pipeline's own path."""
    ends = {}
    for choice in ("euler", "ddim"):
        other = pipe.replace(scheduler=twice(inner=scheduler(choice)), spacing="trailing")
        ends[choice] = other.initial_scale(other.composition.grid(5))
    noisiest = pipe.composition.info.noise_schedule.at(999)
    assert ends["ddim"] == pytest.approx(1.0, abs=1e-12)
    assert ends["euler"] == noisiest.sigma
    assert noisiest.sigma < 0.999


def test_the_networks_variance_reaches_what_is_inside(pipes: Any) -> None:
    """Ho et al.'s sampler switched to itself is itself, learned variance and all."""
    learned = {"name": "ddpm", "variance": "learned_range"}
    alone, switched = (
        pipes("DiT").replace(scheduler=choice)(class_label=1, seed=2, output_type="latent").images
        for choice in (learned, {"name": "switch", "first": learned, "then": learned})
    )
    assert alone.equal(switched)
