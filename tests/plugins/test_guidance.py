"""Guidance: the papers' formulas on Gaussian data, where they have closed forms; Diffusers' guiders
on the same predictions; what a real pipeline computes, and what it does not."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

import tiny
from ldm_core import Pipeline
from ldm_core.conformance import SCHEDULES, GaussianData
from ldm_core.contracts import (
    Bound,
    Call,
    Conditioning,
    Evaluation,
    Input,
    LatentSpace,
    Request,
    Run,
    RunHooks,
    Step,
)
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.point import CLEAN, Point
from ldm_core.numerics.prediction import PREDICTION_TYPES, as_prediction_type, from_x0
from ldm_core.plugins.options import with_options
from ldm_core.plugins.registry import installed
from ldm_core.run.weights import Weights

POSITIVE, NEGATIVE = GaussianData(0.7, 0.6), GaussianData(-0.2, 0.6)
BRANCHES = {"positive": POSITIVE.denoise, "negative": NEGATIVE.denoise}
PATHS = sorted(SCHEDULES)
SHARES = (0.9, 0.5, 0.1)
OTHERS: dict[str, dict[str, Any]] = {
    "classifier_free": {"rescale": 0.7},
    "adaptive": {"threshold": 0.9},
    "adaptive_projected": {},
    "cfg_zero_star": {},
    "cfg_pp": {},
    "dynamic_threshold": {"limit": 2.0},
    "renormed": {},
    "composable": {"prompts": ["a blue circle:0.5", "fog:-0.3"]},
}


def create(name: str, **options: Any) -> Any:
    return with_options(installed().find("guidance", name).loaded, options)


def points_of(path: str) -> list[Point]:
    schedule = SCHEDULES[path]
    span = schedule.last - schedule.first
    return [schedule.at(schedule.first + share * span) for share in SHARES]


def grid_of(path: str, steps: int = 6) -> Grid:
    schedule = SCHEDULES[path]
    span = schedule.last - schedule.first
    shares = [0.95 * (1 - i / steps) for i in range(steps)]
    return Grid([*(schedule.at(schedule.first + s * span) for s in shares), CLEAN], schedule)


def bound(guidance: Any, grid: Grid, images: int = 1) -> Bound:
    """The guidance in a run along a grid."""
    model: Any = SimpleNamespace(info=SimpleNamespace(learned_variance=False))
    request = Request({"prompt": ["a"] * images}, [0] * images, {}, len(grid) - 1)
    nothing: Any = None
    answer: Bound = guidance.bind(Run(model, request, grid, nothing, nothing, 1.0))
    return answer


def in_a_run(name: str, **options: Any) -> Bound:
    """A guidance with options in some run."""
    return bound(create(name, **options), grid_of("vp"))


def guided(
    guidance: Bound,
    x: Tensor,
    point: Point,
    kind: str = "sample",
    denoisers: Mapping[str, Any] = BRANCHES,
) -> Tensor:
    """The x0 of what a guidance makes of exact denoisers behind a prediction type."""
    outputs = {b: from_x0(kind, denoisers[b](x, point), x, point) for b in guidance.branches(point)}
    return guidance.x0(outputs, Evaluation(x, point, as_prediction_type(kind)))


def some_x(*shape: int) -> Tensor:
    return torch.randn(shape or (4, 3, 5), generator=torch.Generator().manual_seed(0)).double()


def predictions(seed: int = 0) -> tuple[Tensor, Tensor]:
    """A positive and a negative answer that resemble one another, as a network's do."""
    draws = torch.Generator().manual_seed(seed)
    shared, a, b = torch.randn((3, 2, 4, 8, 8), generator=draws)
    return shared + 0.4 * a, shared + 0.4 * b


def combined(guidance: Bound, positive: Tensor, negative: Tensor) -> Tensor:
    """What a guidance makes of two predictions of x0."""
    sample = as_prediction_type("sample")
    at = Evaluation(torch.zeros_like(positive), SCHEDULES["vp"].at(500), sample)
    return guidance.output({"positive": positive, "negative": negative}, at)


# Closed forms


@pytest.mark.parametrize("kind", PREDICTION_TYPES)
@pytest.mark.parametrize("path", PATHS)
def test_classifier_free_leads_a_gaussian_on(path: str, kind: str) -> None:
    """Of Gaussians of one width, it makes the Gaussian whose mean lies `scale` times as far."""
    scale = 2.5
    led = GaussianData(NEGATIVE.mean + scale * (POSITIVE.mean - NEGATIVE.mean), POSITIVE.std)
    for point in points_of(path):
        x = some_x()
        actual = guided(in_a_run("classifier_free", scale=scale), x, point, kind)
        torch.testing.assert_close(actual, led.denoise(x, point), rtol=1e-9, atol=1e-9)


def score_mean(x: Tensor, point: Point, parts: list[tuple[float, GaussianData]]) -> Tensor:
    """E[x0 | x] by Tweedie of the product of marginals, each to a power: again a Gaussian."""
    precision = sum(power / data.marginal_std(point) ** 2 for power, data in parts)
    pull = sum(power * point.alpha * d.mean / d.marginal_std(point) ** 2 for power, d in parts)
    score = pull - precision * x
    return (x + point.sigma**2 * score) / point.alpha


def test_composition_is_the_product_of_the_distributions() -> None:
    """AND multiplies p(x | c)/p(x) of every prompt, NOT divides by it (Liu et al.)."""
    circle, fog = GaussianData(0.1, 0.4), GaussianData(1.5, 0.9)
    wide = GaussianData(0.0, 1.2)
    composed = in_a_run("composable", prompts=["a circle:0.5", "fog:-0.25"], scale=2.0)
    denoisers = {"positive": POSITIVE, "negative": wide, "prompt 2": circle, "prompt 3": fog}
    powers = [(2.0, POSITIVE), (1.0, circle), (-0.5, fog), (1 - 2.5, wide)]
    for path in PATHS:
        for point in points_of(path):
            x = some_x()
            exact = {name: data.denoise for name, data in denoisers.items()}
            actual = guided(composed, x, point, "epsilon", exact)
            expected = score_mean(x, point, powers)
            torch.testing.assert_close(actual, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("scheduler", ["ddim", "euler"])
@pytest.mark.parametrize("path", PATHS)
def test_cfg_pp_renoises_with_the_unconditional_noise(path: str, scheduler: str) -> None:
    """The paper's own loop: x0 between the branches', noise of the negative one."""
    grid, scale = grid_of(path), 0.6
    x = expected = some_x() * math.hypot(grid[0].alpha, grid[0].sigma)
    for here, there in pairwise(grid):
        low = NEGATIVE.denoise(expected, here)
        x0 = low + scale * (POSITIVE.denoise(expected, here) - low)
        noise = (expected - here.alpha * low) / here.sigma
        expected = there.alpha * x0 + there.sigma * noise
    guidance = bound(create("cfg_pp", scale=scale), grid)
    walk = with_options(installed().find("scheduler", scheduler).loaded, {})
    actual = walk(x, grid, lambda x, point: guided(guidance, x, point, "flow"), None)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


def strength(guidance: Bound, point: Point) -> float:
    """The weight of the positive answer."""
    outputs = {"negative": torch.zeros(1).double(), "positive": torch.ones(1).double()}
    at = Evaluation(torch.zeros(1).double(), point, as_prediction_type("flow"))
    return guidance.output(outputs, at).item()


def test_cfg_pp_is_bounded_between_the_points_of_a_grid() -> None:
    grid = grid_of("flow")
    guidance = bound(create("cfg_pp", scale=1.0), grid)
    close = grid.schedule.at(grid[3].t + 1e-3)
    assert strength(guidance, close) == strength(guidance, grid[2])
    assert strength(guidance, grid[-2]) == 1.0
    noise = Grid([SCHEDULES["flow"].at(1000), *grid[1:]], grid.schedule)
    assert strength(bound(create("cfg_pp", scale=0.5), noise), noise[0]) == 0.5  # alpha is 0 there


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("scheduler", ["ddim", "euler", "dpmpp_2m"])
def test_zero_init_leaves_x_where_it_is_and_asks_no_network(path: str, scheduler: str) -> None:
    grid = grid_of(path)
    guidance = bound(create("cfg_zero_star", zero_init_steps=1), grid)
    assert guidance.branches(grid[0]) == ()
    assert guidance.branches(grid[1]) == ("negative", "positive")
    x = some_x()
    walk = with_options(installed().find("scheduler", scheduler).loaded, {})
    for kind in ("epsilon", "v_prediction", "flow"):
        end = walk(x, grid[:2], lambda x, point, kind=kind: guided(guidance, x, point, kind), None)
        torch.testing.assert_close(end, x, rtol=1e-9, atol=1e-9)


def test_the_optimised_scale_is_the_best_factor() -> None:
    """Where the positive answer is a multiple of the negative one, nothing is left to lead away
    from; elsewhere what is left is at right angles to the negative one."""
    guidance = in_a_run("cfg_zero_star", scale=5.0, zero_init_steps=0)
    positive, negative = (p.double() for p in predictions())
    factor = torch.tensor([0.5, 3.0]).reshape(2, 1, 1, 1).double()
    multiple = combined(guidance, factor * negative, negative)
    torch.testing.assert_close(multiple, factor * negative)
    left = (combined(guidance, positive, negative) - positive) / 4.0
    inner = (left * negative).sum((1, 2, 3))
    torch.testing.assert_close(inner, torch.zeros_like(inner), rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", PREDICTION_TYPES)
def test_projection_by_hand(kind: str) -> None:
    """In two dimensions, with x0 = (3, 4): an update along it goes, one across it stays."""
    x0, across = torch.tensor([[3.0, 4.0]]).double(), torch.tensor([[8.0, -6.0]]).double()
    point, x = SCHEDULES["flow"].at(700), torch.tensor([[0.3, -0.8]]).double()

    def led(update: Tensor, **options: Any) -> Tensor:
        guidance = in_a_run("adaptive_projected", scale=3.0, **{"momentum": 0.0, **options})
        denoisers = {"positive": lambda x, p: x0, "negative": lambda x, p: x0 - update}
        return guided(guidance, x, point, kind, denoisers) - x0

    torch.testing.assert_close(led(0.5 * x0), 0.0 * x0)
    torch.testing.assert_close(led(0.5 * x0, eta=0.5), 0.5 * x0)
    torch.testing.assert_close(led(across), 2.0 * across)
    torch.testing.assert_close(led(across + x0), 2.0 * across)
    # |(8, -6)| is 10: a threshold of 5 halves it
    torch.testing.assert_close(led(across, norm_threshold=5.0), across)


def test_without_its_parts_projected_guidance_is_classifier_free() -> None:
    plain = {"eta": 1.0, "norm_threshold": 0.0, "momentum": 0.0}
    for kind in PREDICTION_TYPES:
        for point in points_of("vp"):
            x = some_x()
            actual = guided(in_a_run("adaptive_projected", scale=4.0, **plain), x, point, kind)
            expected = guided(in_a_run("classifier_free", scale=4.0), x, point, kind)
            torch.testing.assert_close(actual, expected, rtol=1e-8, atol=1e-8)


def test_momentum_counts_the_calls_of_one_run_alone() -> None:
    """With u, u, u updates of weight b come to u, (1 + b)u, (1 + b + b²)u."""
    guidance = create("adaptive_projected", scale=2.0, eta=1.0, norm_threshold=0.0, momentum=-0.5)
    positive, negative = predictions()
    for run in (bound(guidance, grid_of("vp")), bound(guidance, grid_of("vp"))):
        for weight in (1.0, 0.5, 0.75):
            update = combined(run, positive, negative) - positive
            torch.testing.assert_close(update, weight * (positive - negative))


# The interval and the rescaling


@pytest.mark.parametrize("name", ["classifier_free", "adaptive_projected", "cfg_zero_star"])
def test_outside_the_interval_the_positive_branch_answers_alone(name: str) -> None:
    options = {"zero_init_steps": 0} if name == "cfg_zero_star" else {}
    guidance = in_a_run(name, scale=3.0, low=0.5, high=2.0, **options)
    schedule, x = SCHEDULES["vp"], some_x()
    for ratio, inside in ((0.4, False), (0.6, True), (1.9, True), (2.1, False)):
        point = schedule.at_ratio(ratio)
        assert guidance.branches(point) == (("negative", "positive") if inside else ("positive",))
        alone = POSITIVE.denoise(x, point)
        assert torch.allclose(guided(guidance, x, point, "sample"), alone) is not inside
    flow = SCHEDULES["flow"]
    assert in_a_run(name, low=0.0, **options).branches(flow.at(1000)) == ("negative", "positive")
    # the paper's interval is open below and closed above
    edges = in_a_run(name, low=1.0, high=3.0, **options)
    assert edges.branches(Point(0.5, 0.5, 500.0)) == ("positive",)
    assert edges.branches(Point(0.25, 0.75, 750.0)) == ("negative", "positive")


@pytest.mark.parametrize("name", ["classifier_free", "cfg_zero_star", "composable"])
def test_full_rescaling_gives_the_positive_answers_spread(name: str) -> None:
    options: dict[str, dict[str, Any]] = {
        "cfg_zero_star": {"zero_init_steps": 0},
        "composable": {"prompts": ["fog:0"]},
    }
    positive, negative = predictions()

    def spread(phi: float) -> Tensor:
        guidance = in_a_run(name, scale=6.0, rescale=phi, **options.get(name, {}))
        return combined(guidance, positive, negative).std((1, 2, 3))

    torch.testing.assert_close(spread(1.0), positive.std((1, 2, 3)))
    torch.testing.assert_close(spread(0.25), (spread(0.0) * 3 + spread(1.0)) / 4)


# Diffusers' guiders


@pytest.mark.parametrize("rescale", [0.0, 0.7])
def test_classifier_free_is_diffusers(rescale: float) -> None:
    from diffusers.guiders import ClassifierFreeGuidance

    positive, negative = predictions()
    theirs = ClassifierFreeGuidance(guidance_scale=5.0, guidance_rescale=rescale)
    theirs.set_state(0, 4, torch.tensor(0))
    actual = combined(in_a_run("classifier_free", scale=5.0, rescale=rescale), positive, negative)
    expected = theirs.forward(positive, negative).pred
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("momentum", [0.0, -0.5])
@pytest.mark.parametrize("threshold", [0.0, 4.0])
def test_adaptive_projected_is_diffusers_original_formulation(
    eta: float, momentum: float, threshold: float
) -> None:
    """Diffusers' other formulation adds the update to the negative answer; the paper's code, and
    this, to the positive one."""
    from diffusers.guiders import AdaptiveProjectedGuidance
    from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer

    theirs = AdaptiveProjectedGuidance(
        guidance_scale=4.0,
        adaptive_projected_guidance_momentum=momentum or None,
        adaptive_projected_guidance_rescale=threshold,
        eta=eta,
        use_original_formulation=True,
    )
    options = {"eta": eta, "norm_threshold": threshold, "momentum": momentum}
    ours = in_a_run("adaptive_projected", scale=5.0, **options)
    theirs.momentum_buffer = MomentumBuffer(momentum) if momentum else None
    for step in range(3):
        positive, negative = predictions(step)
        theirs.set_state(step, 3, torch.tensor(0))
        expected = theirs.forward(positive, negative).pred
        actual = combined(ours, positive, negative)
        torch.testing.assert_close(actual, expected, rtol=1e-6, atol=2e-6)


def test_cfg_zero_star_is_diffusers() -> None:
    from diffusers.guiders import ClassifierFreeZeroStarGuidance

    grid = grid_of("flow")
    options = {"scale": 5.0, "zero_init_steps": 2, "rescale": 0.3}
    ours = bound(create("cfg_zero_star", **options), grid)
    theirs = ClassifierFreeZeroStarGuidance(
        guidance_scale=5.0, zero_init_steps=2, guidance_rescale=0.3
    )
    for step, point in enumerate(grid[:-1]):
        positive, negative = predictions(step)
        theirs.set_state(step, len(grid) - 1, torch.tensor(0))
        # at a standstill theirs rescales zeros by 0/0
        expected = torch.zeros_like(positive)
        if step >= 2:
            expected = theirs.forward(positive, negative).pred
        at = Evaluation(some_x(*positive.shape).float(), point, as_prediction_type("flow"))
        answers = {"positive": positive, "negative": negative}
        actual = ours.combine({name: answers[name] for name in ours.branches(point)}, at)
        torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("percentile", "limit"), [(0.9, 1.0), (0.995, 1.0), (0.9, 50.0)])
def test_dynamic_threshold_is_diffusers(percentile: float, limit: float) -> None:
    from diffusers import DDIMScheduler

    theirs = DDIMScheduler(
        thresholding=True, dynamic_thresholding_ratio=percentile, sample_max_value=1e9
    )
    positive, negative = predictions()
    options = {"scale": 6.0, "percentile": percentile, "limit": limit}
    actual = combined(in_a_run("dynamic_threshold", **options), positive, negative)
    plain = combined(in_a_run("classifier_free", scale=6.0), positive, negative)
    # Diffusers knows data within [-1, 1] alone
    expected = limit * theirs._threshold_sample(plain / limit)
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6)


def test_what_is_renormed_has_the_positive_answers_length_and_the_guided_direction() -> None:
    """Over each token of a network that takes 2x2 places for one, and over each image."""
    positive, negative = (torch.randn(2, 3, 4, 6, dtype=torch.float64) for _ in range(2))
    info: Any = SimpleNamespace(latents=LatentSpace.of_picture(3, patch=2))
    grid = grid_of("flow")
    plain = combined(in_a_run("classifier_free", scale=5.0), positive, negative)

    def tokens(x: Tensor) -> Tensor:
        return x.unflatten(-1, (3, 2)).unflatten(2, (2, 2)).movedim(1, -1).transpose(2, 3)

    def images(x: Tensor) -> Tensor:
        return x[:, None, None]

    for over, parts in (("token", tokens), ("image", images)):
        guidance = create("renormed", scale=5.0, over=over).fit(info)
        actual = parts(combined(bound(guidance, grid), positive, negative)).flatten(3)
        expected, own = parts(plain).flatten(3), parts(positive).flatten(3)
        cosine = (actual * expected).sum(-1) / actual.norm(dim=-1) / expected.norm(dim=-1)
        torch.testing.assert_close(cosine, torch.ones_like(cosine))
        torch.testing.assert_close(actual.norm(dim=-1), own.norm(dim=-1))


def test_a_clamp_shortens_what_is_too_long_alone() -> None:
    """As Z-Image's cfg_normalization: the bound is so many times the positive answer's length."""
    positive = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
    for negative, clamp, length in ((-positive, 1.5, 7.5), (positive * 0.9, 1.5, 6.0)):
        renormed = create("renormed", scale=3.0, over="image", clamp=clamp)
        actual = combined(bound(renormed, grid_of("flow")), positive, negative)
        assert float(actual.norm()) == pytest.approx(length, rel=1e-6)


def test_a_scale_from_the_positive_answer_is_one_less() -> None:
    positive, negative = predictions()
    one = combined(in_a_run("classifier_free", scale=5.0), positive, negative)
    other = in_a_run("classifier_free", scale=4.0, from_positive=True)
    assert combined(other, positive, negative).equal(one)
    none = in_a_run("classifier_free", scale=0.0, from_positive=True)
    assert none.branches(grid_of("flow")[0]) == ("positive",)
    with pytest.raises(LdmError, match="must not be negative"):
        create("classifier_free", scale=-0.5, from_positive=True)


def test_thresholding_spares_what_lies_within_the_limit() -> None:
    positive, negative = predictions()
    within = combined(in_a_run("dynamic_threshold", scale=1.0, limit=50.0), positive, negative)
    assert within.equal(positive)


# In a pipeline


def counted(pipe: Pipeline) -> tuple[Pipeline, list[int]]:
    """The pipeline, and how many pictures its network is asked for in each call."""
    rows: list[int] = []

    def network(call: Call) -> Tensor:
        rows.append(len(call.x))
        return pipe.model.network(call)

    return replace(pipe, weights=Weights.of(replace(pipe.model, network=network))), rows


def latents(pipe: Pipeline, prompt: Any = "a red star", seed: Any = 1, **guidance: Any) -> Tensor:
    if guidance:
        pipe = pipe.replace(guidance=guidance)
    images: Tensor = pipe(prompt, seed=seed, output_type="latent").images
    return images


@pytest.mark.parametrize(
    ("guidance", "rows"),
    [
        ({"name": "classifier_free", "scale": 1.0}, [1, 1, 1, 1]),
        ({"name": "classifier_free", "low": 0.5, "high": 3.0}, [1, 2, 2, 1]),
        ({"name": "classifier_free", "low": 100.0}, [1, 1, 1, 1]),
        ({"name": "adaptive_projected", "scale": 1.0}, [1, 1, 1, 1]),
        ({"name": "adaptive_projected", "high": 0.5}, [1, 1, 1, 2]),
        ({"name": "cfg_zero_star"}, [2, 2, 2]),
        ({"name": "cfg_zero_star", "scale": 1.0, "zero_init_steps": 2}, [1, 1]),
        ({"name": "cfg_pp"}, [2, 2, 2, 2]),
        ({"name": "dynamic_threshold", "scale": 1.0}, [1, 1, 1, 1]),
        ({"name": "composable", "prompts": ["a circle", "fog:-1", "mist:0"]}, [4, 4, 4, 4]),
        ({"name": "composable", "prompts": ["a circle:0"], "scale": 1.0}, [1, 1, 1, 1]),
        ({"name": "composable", "prompts": ["a circle"], "low": 0.5, "high": 3.0}, [1, 3, 3, 1]),
        ({"name": "adaptive", "threshold": -1.0}, [2, 1, 1, 1]),
        ({"name": "adaptive", "threshold": -1.0, "high": 3.0}, [1, 2, 1, 1]),
    ],
)
def test_nothing_is_computed_that_has_no_weight(
    pipe: Pipeline, guidance: dict[str, Any], rows: list[int]
) -> None:
    counting, counts = counted(pipe.replace(guidance=guidance, scheduler="ddim", spacing="leading"))
    latents(counting)
    assert counts == rows


def test_guidance_that_is_off_is_no_guidance(pipe: Pipeline) -> None:
    plain = latents(pipe, name="none")
    for name in ("classifier_free", "adaptive_projected"):
        assert latents(pipe, name=name, scale=1.0).equal(plain)
    assert latents(pipe, name="classifier_free", scale=9.0, low=1e6).equal(plain)


@pytest.mark.parametrize("choice", ["none", "embedded", 1.0, 4.0])
def test_a_negative_prompt_that_changes_nothing_is_said_to(
    pipe: Pipeline, tmp_path: Path, choice: str | float
) -> None:
    call: dict[str, Any] = {"seed": 1, "output_type": "latent", "num_inference_steps": 2}
    if choice == "embedded":
        pipe = Pipeline.from_pretrained(tiny.write_flux(tmp_path / "model"))
        call |= {"width": 16, "height": 16}
    elif isinstance(choice, str):
        pipe = pipe.replace(guidance=choice)
    else:
        call["guidance_scale"] = choice
    plain = pipe("a star", **call).images
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", LdmWarning)
        pipe("a star", negative_prompt="", **call)  # the lack of one, as programs say it
        assert not caught
        other = pipe("a star", negative_prompt="green", **call).images
    said = [str(warning.message) for warning in caught]
    assert other.equal(plain) == (choice != 4.0)
    assert len(said) == (choice != 4.0)
    assert all("the negative_prompt changes nothing: the guidance" in text for text in said)


def test_composing_a_prompt_with_itself_doubles_the_scale(pipe: Pipeline) -> None:
    twice = latents(pipe, name="composable", prompts=["a red star"], scale=2.0)
    torch.testing.assert_close(twice, latents(pipe, name="classifier_free", scale=4.0))
    undone = latents(pipe, name="composable", prompts=["a red star:-0.5"], scale=4.0)
    torch.testing.assert_close(undone, latents(pipe, name="classifier_free", scale=2.0))


def test_the_last_colon_of_a_composed_prompt_is_its_weight(pipe: Pipeline) -> None:
    def composed(prompt: str) -> Any:
        return create("composable", prompts=[prompt]).prompts

    assert composed("a circle") == (("a circle", 1.0),)
    assert composed("a circle : -0.5") == (("a circle", -0.5),)
    assert composed("blue: a circle") == (("blue: a circle", 1.0),)
    assert composed("blue: a circle:2") == (("blue: a circle", 2.0),)
    one = latents(pipe, name="composable", prompts=["a circle:1.0"])
    assert one.equal(latents(pipe, name="composable", prompts=["a circle"]))
    assert not one.equal(latents(pipe, name="composable", prompts=["a square"]))


def test_what_is_read_for_the_whole_run_is_refused_as_a_branchs_own(pipe: Pipeline) -> None:
    class ForTheRun(Conditioning):
        inputs: ClassVar[dict[str, Input]] = {"level": Input(str, "1")}

        def bind(self, run: Run) -> RunHooks:
            assert run.request.inputs["level"] == ["1"]
            return RunHooks()

    by_level = {"name": "composable", "prompts": ["2"], "input": "level"}
    own = pipe.replace(conditioning=["text", ForTheRun()], guidance=by_level)
    with pytest.raises(LdmError, match="a 'level' of its own, which no conditioning puts into"):
        own("a red star", seed=1)


def test_thresholding_goes_around_another_guidance(pipe: Pipeline) -> None:
    limited = {"name": "dynamic_threshold", "percentile": 0.9, "limit": 0.2}
    inners: list[Any] = [
        "none",
        {"name": "classifier_free", "scale": 9.0},
        {"name": "adaptive_projected", "scale": 9.0},
        {"name": "composable", "prompts": ["a circle"]},
        {"name": "cfg_zero_star", "zero_init_steps": 0},
    ]
    ends = []
    for inner in inners:
        estimates: list[Tensor] = []

        def watch(step: Step, seen: list[Tensor] = estimates) -> None:
            seen.append(step.x0)

        around = pipe.replace(guidance={**limited, "inner": inner}, scheduler="ddim")
        ends.append(around("a red star", seed=1, output_type="latent", on_step=watch).images)
        assert max(x0.abs().max() for x0 in estimates) < 0.2 * (1 + 1e-3)
    assert len({tuple(end.flatten().tolist()) for end in ends}) == len(inners)
    nine = {"name": "dynamic_threshold", "inner": {"name": "classifier_free", "scale": 9.0}}
    assert latents(pipe, **nine).equal(latents(pipe, name="dynamic_threshold", scale=9.0))


@pytest.mark.parametrize("name", OTHERS)
def test_an_image_depends_on_its_seed_alone(pipe: Pipeline, name: str) -> None:
    guidance = {"name": name, **OTHERS[name]}
    prompts = ["a red star", "a blue circle"]
    both = latents(pipe, prompts, [3, 4], **guidance)
    torch.testing.assert_close(latents(pipe, prompts, [3, 4], **guidance), both, rtol=0, atol=0)
    for i in range(2):
        alone = latents(pipe, prompts[i], 3 + i, **guidance)
        torch.testing.assert_close(alone, both[i : i + 1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", OTHERS)
def test_a_run_in_two_parts_is_guided_as_in_one(pipe: Pipeline, name: str) -> None:
    guided = pipe.replace(guidance={"name": name, **OTHERS[name]}, scheduler="ddim")
    plan = guided.composition.plan({"prompt": "a red star"}, [3])
    run = guided.start(plan)
    half = run.walk(run.x, stop=2)
    assert run.walk(half, start=2).equal(guided.sample(plan))


@pytest.fixture(scope="module", params=["Stable Diffusion", "SD v-prediction", "SD 3", "DiT"])
def kind(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[tiny.Kind, Pipeline]:
    kind = tiny.FOLDERS[request.param]
    folder = kind.write(tmp_path_factory.mktemp("models") / "model")
    return kind, Pipeline.from_pretrained(folder, num_inference_steps=3)


@pytest.mark.parametrize("name", OTHERS)
def test_every_family_is_guided(kind: tuple[tiny.Kind, Pipeline], name: str) -> None:
    written, pipe = kind
    guidance = {"name": name, **OTHERS[name]}
    inputs = {"seed": 5, "output_type": "latent", **written.inputs}
    if "class_label" in inputs:
        inputs["class_label"] = [0, 3]
        if name == "composable":
            guidance |= {"prompts": ["4:0.5", "goldfish:-0.3"], "input": "class_label"}
    end = pipe.replace(guidance=guidance)(**inputs).images
    assert end.isfinite().all()
    assert not end.equal(pipe.replace(guidance="none")(**inputs).images)


# What is refused


@pytest.mark.parametrize(
    ("guidance", "message"),
    [
        ({"name": "classifier_free", "scale": -1}, "must not be negative"),
        ({"name": "classifier_free", "rescale": 1.5}, "'rescale'.*at most 1"),
        ({"name": "classifier_free", "low": -0.1}, "'low'.*at least 0"),
        ({"name": "classifier_free", "low": 3, "high": 2}, "nowhere from 3 to 2"),
        ({"name": "adaptive_projected", "scale": -1}, "adaptive_projected must not be negative"),
        ({"name": "adaptive_projected", "momentum": 1}, "'momentum'.*less than 1"),
        ({"name": "adaptive_projected", "norm_threshold": -1}, "'norm_threshold'"),
        ({"name": "cfg_zero_star", "zero_init_steps": -1}, "'zero_init_steps'"),
        ({"name": "cfg_pp", "scale": 7.5}, "at most 1, unlike 7.5"),
        ({"name": "cfg_pp", "scale": 0}, "above 0"),
        ({"name": "dynamic_threshold", "percentile": 1.2}, "'percentile'"),
        ({"name": "dynamic_threshold", "limit": 0}, "'limit'.*greater than 0"),
        ({"name": "dynamic_threshold", "scale": 2, "inner": "none"}, "set the scale among its"),
        ({"name": "dynamic_threshold", "inner": "cfg_pp"}, "what cfg_pp .* answer is none"),
        ({"name": "dynamic_threshold", "inner": "cfg_zero_star"}, "set zero_init_steps to 0"),
        ({"name": "dynamic_threshold", "inner": "embedded"}, "guidance as a number"),
        ({"name": "composable"}, "needs the option 'prompts'"),
        ({"name": "composable", "prompts": []}, "needs prompts beside the request's own"),
        ({"name": "composable", "prompts": [":2"]}, "not ':2'"),
        ({"name": "composable", "prompts": ["fog:nan"]}, "a finite number, not 'fog:nan'"),
    ],
)
def test_bad_options_are_refused(pipe: Pipeline, guidance: dict[str, Any], message: str) -> None:
    with pytest.raises(LdmError, match=message):
        pipe.replace(guidance=guidance)


def test_what_a_run_cannot_be_guided_by_is_refused(pipe: Pipeline) -> None:
    with pytest.raises(LdmError, match="leaves nothing of the run's 4"):
        latents(pipe, name="cfg_zero_star", zero_init_steps=4)
    with pytest.raises(LdmError, match=r"no 'promt'.*Did you mean 'prompt'"):
        latents(pipe, name="composable", prompts=["fog"], input="promt")
