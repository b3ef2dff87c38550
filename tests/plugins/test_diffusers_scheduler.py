"""Diffusers' scheduler classes behind the ordinary contract: its own pipeline and its own loop."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.conformance.trace import trace
from ldm_core.contracts import Grid, Scheduler, VariancePredicting
from ldm_core.errors import LdmError
from ldm_core.numerics.noise_schedule import FlowSchedule, NoiseSchedule, VESchedule, vp_schedule
from ldm_core.numerics.point import Point
from ldm_core.numerics.prediction import to_x0
from ldm_core.numerics.seeded_noise import SeededNoise
from ldm_core.plugins.registry import installed
from ldm_plugins.schedulers.diffusers import from_diffusers

VP_CLASSES = (
    *("DDIMParallelScheduler", "DDIMScheduler", "DDPMParallelScheduler", "DDPMScheduler"),
    *("DEISMultistepScheduler", "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler"),
    *("EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler"),
    *("KDPM2AncestralDiscreteScheduler", "KDPM2DiscreteScheduler", "LCMScheduler"),
    *("LMSDiscreteScheduler", "PNDMScheduler", "SASolverScheduler", "TCDScheduler"),
    "UniPCMultistepScheduler",
)
UNSPACED = {"DPMSolverSinglestepScheduler"}
FLOW_CLASSES = (
    *("DEISMultistepScheduler", "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler"),
    *("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"),
    *("FlowMatchLCMScheduler", "SASolverScheduler", "UniPCMultistepScheduler"),
)
PROMPTS = ["a red star", "a blue circle"]
CALL: dict[str, Any] = {"guidance_scale": 4.0, "output_type": "latent"}


@pytest.fixture(scope="module")
def stock(folder: Path) -> Any:
    """Diffusers' own pipeline on the folder."""
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def latents_of(stock: Any, scheduler: Any, steps: int, **more: Any) -> Tensor:
    stock = type(stock)(
        **{**stock.components, "scheduler": scheduler}, requires_safety_checker=False
    )
    stock.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    out = stock(PROMPTS, generator=generators, num_inference_steps=steps, **CALL, **more)
    latents: Tensor = out.images
    return latents


@pytest.mark.parametrize(("spacing", "steps"), [("leading", 12), ("trailing", 7), ("linspace", 5)])
@pytest.mark.parametrize("name", VP_CLASSES)
def test_final_latents_are_those_of_its_own_pipeline(
    pipe: Pipeline, stock: Any, name: str, spacing: str, steps: int
) -> None:
    config = {} if name in UNSPACED else {"timestep_spacing": spacing}
    # Diffusers' pipeline hands its own eta, 0, to every step.
    step = {"step": {"eta": 0.0}} if name == "TCDScheduler" else {}
    ours = pipe.replace(scheduler={"name": f"diffusers:{name}", "config": config, **step})
    found = ours(PROMPTS, seed=3, num_inference_steps=steps, **CALL).images
    scheduler = getattr(diffusers, name).from_config(stock.scheduler.config, **config)
    expected = latents_of(stock, scheduler, steps)
    assert (found - expected).norm() < 1e-5 * expected.norm()


def velocity(x: Tensor, t: float) -> Tensor:
    """A made-up network."""
    return torch.tanh(x * (0.3 + t / 1000)) - 0.5 * x.roll(1, -1) * (1 - t / 2000)


def loop(scheduler: Any, steps: int, noise: SeededNoise) -> Tensor:
    """Diffusers' own loop, its noise drawn from the same streams."""
    scheduler.set_timesteps(steps)
    x = noise()
    real, torch.randn = torch.randn, lambda *a, **k: noise_from(noise, real)
    try:
        for t in scheduler.timesteps:
            x = scheduler.step(velocity(x, float(t)), t, x, return_dict=False)[0]
    finally:
        torch.randn = real
    return x


def noise_from(noise: SeededNoise, real: Any) -> Tensor:
    taken, torch.randn = torch.randn, real
    try:
        return noise()
    finally:
        torch.randn = taken


def own_grid(scheduler: Scheduler, schedule: NoiseSchedule, steps: int) -> Grid:
    """The points that it walks."""
    assert scheduler.points is not None
    return Grid(scheduler.points(schedule, steps), schedule)


def walk(scheduler: Scheduler, schedule: NoiseSchedule, steps: int, kind: Any = "flow") -> Tensor:
    """Our loop on the made-up network, whose output is of this type."""
    noise = streams()
    grid = own_grid(scheduler, schedule, steps)

    def denoise(x: Tensor, point: Point) -> Tensor:
        return to_x0(kind, velocity(x, point.t), x, point)

    x = noise() * scheduler.start(grid[0], schedule.at(schedule.last))
    end: Tensor = scheduler(x, grid, denoise, noise)
    return end


def streams() -> SeededNoise:
    return SeededNoise([0, 1], (4, 3, 5), torch.device("cpu"))


@pytest.mark.parametrize("name", FLOW_CLASSES)
def test_on_a_flow_the_end_is_that_of_its_own_loop(name: str) -> None:
    cls = getattr(diffusers, name)
    flow = {} if name.startswith("Flow") else {"use_flow_sigmas": True}
    kind = {} if name.startswith("Flow") else {"prediction_type": "flow_prediction"}
    final = {"lower_order_final": True} if name == "DPMSolverSinglestepScheduler" else {}
    expected = loop(cls(**flow, **kind, **final), 10, streams())
    found = walk(from_diffusers(name), FlowSchedule(), 10)
    assert (found - expected).norm() < 1e-5 * expected.norm()


def test_a_shift_of_the_flow_is_the_class_own() -> None:
    name, schedule = "FlowMatchEulerDiscreteScheduler", FlowSchedule()
    points = own_grid(from_diffusers(name, config={"shift": 3.0}), schedule, 4)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(4)
    assert [point.sigma for point in points] == pytest.approx(scheduler.sigmas.tolist())
    assert [point.t for point in points[:-1]] == pytest.approx(scheduler.timesteps.tolist())


@pytest.mark.parametrize("name", VP_CLASSES)
def test_the_grid_is_the_class_own_timesteps(pipe: Pipeline, name: str) -> None:
    grid = pipe.replace(scheduler=f"diffusers:{name}").composition.grid(10)
    assert all(there.ratio < here.ratio for here, there in pairwise(grid))
    scheduler = getattr(diffusers, name).from_config(pipe.model.info.scheduler_config)
    scheduler.set_timesteps(10)
    assert {point.t for point in grid[:-1]} <= set(scheduler.timesteps.tolist())


@pytest.mark.parametrize(
    "name", ["DDIMScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler"]
)
def test_a_walk_may_begin_part_way(name: str) -> None:
    """A method without memory goes on from a point as if it had come there itself."""
    schedule = vp_schedule()
    scheduler = from_diffusers(name, config={"timestep_spacing": "trailing"})
    grid = own_grid(scheduler, schedule, 8)

    def denoise(x: Tensor, point: Point) -> Tensor:
        return to_x0("epsilon", velocity(x, point.t), x, point)

    x = streams()()
    whole = scheduler(x, grid, denoise, streams())
    first = scheduler(x, grid[:4], denoise, streams())
    second = scheduler(first, grid[3:], denoise, streams())
    assert (second - whole).norm() < 1e-5 * whole.norm()


def test_a_class_that_counts_its_calls_begins_at_its_first() -> None:
    schedule = vp_schedule()
    scheduler = from_diffusers("PNDMScheduler", config={"skip_prk_steps": True})
    grid = own_grid(scheduler, schedule, 8)
    with pytest.raises(LdmError, match="first timestep"):
        scheduler(streams()(), grid[2:], lambda x, point: x, streams())


def test_points_of_another_making_are_refused() -> None:
    schedule = vp_schedule()
    grid = Grid([schedule.at(999), schedule.at(0)], schedule)
    with pytest.raises(LdmError, match="points of its own"):
        from_diffusers("DDIMScheduler")(streams()(), grid, lambda x, point: x, streams())


@pytest.mark.parametrize("name", ["DDPMScheduler", "SASolverScheduler"])
def test_an_image_depends_on_its_seed_alone(pipe: Pipeline, name: str) -> None:
    ours = pipe.replace(scheduler=f"diffusers:{name}")
    call: dict[str, Any] = {"num_inference_steps": 4, **CALL}
    torch.manual_seed(0)
    both = ours(PROMPTS, seed=[7, 8], **call).images
    torch.manual_seed(1)
    alone = ours(PROMPTS[1], seed=8, **call).images
    torch.testing.assert_close(both[1:], alone, rtol=1e-4, atol=1e-4)
    assert (alone - ours(PROMPTS[1], seed=9, **call).images).norm() > 0.1 * alone.norm()


def test_arguments_of_the_step_are_handed_on(pipe: Pipeline, stock: Any) -> None:
    """DDIM with eta, as StableDiffusionPipeline hands it on."""
    expected = latents_of(stock, stock.scheduler, 6, eta=0.7)
    ours = pipe.replace(scheduler={"name": "diffusers:DDIMScheduler", "step": {"eta": 0.7}})
    found = ours(PROMPTS, seed=3, num_inference_steps=6, **CALL).images
    assert (found - expected).norm() < 1e-5 * expected.norm()


def test_a_learned_variance_reaches_the_class() -> None:
    """Ho et al.'s sampler with Nichol & Dhariwal's variance, in Diffusers' own loop."""
    noise, schedule = streams(), vp_schedule("linear", 0.0001, 0.02)

    def network(x: Tensor, t: float) -> Tensor:
        return torch.cat([velocity(x, t), torch.tanh(x)], dim=1)

    scheduler = diffusers.DDPMScheduler(variance_type="learned_range", clip_sample=False)
    scheduler.set_timesteps(10)
    expected = noise()
    for t in scheduler.timesteps:
        drawn = noise()
        real, torch.randn = torch.randn, lambda *a, d=drawn, **k: d
        try:
            expected = scheduler.step(network(expected, float(t)), t, expected).prev_sample
        finally:
            torch.randn = real

    ours = from_diffusers("DDPMScheduler", config={"variance_type": "learned_range"})
    assert ours.needs_variance
    latest: list[Tensor] = []

    def denoise(x: Tensor, point: Point) -> Tensor:
        output, variance = network(x, point.t).chunk(2, dim=1)
        latest.append(variance)
        return to_x0("epsilon", output, x, point)

    noise = streams()
    grid = own_grid(ours, schedule, 10)
    both = VariancePredicting(denoise, lambda: latest[-1])
    found = ours(noise(), grid, both, noise)
    assert (found - expected).norm() < 1e-5 * expected.norm()


@pytest.mark.parametrize("name", ["DDIMScheduler", "EulerDiscreteScheduler"])
def test_pure_noise_at_the_start_is_walked_with_velocities(name: str) -> None:
    """Zero terminal SNR, where noise says nothing of x0; in Diffusers' own loop."""
    schedule = vp_schedule(rescale_zero_snr=True)
    config = {"timestep_spacing": "trailing"}
    scheduler = getattr(diffusers, name)(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        rescale_betas_zero_snr=True,
        prediction_type="v_prediction",
        **({"clip_sample": False} if name == "DDIMScheduler" else {}),
        **config,
    )
    scheduler.set_timesteps(5)
    expected = streams()() * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        seen = scheduler.scale_model_input(expected, t)
        expected = scheduler.step(velocity(seen, float(t)), t, expected).prev_sample
    found = walk(from_diffusers(name, config=config), schedule, 5, "v_prediction")
    assert (found - expected).norm() < 1e-4 * expected.norm()


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        ("diffusers:UniPCMultiStepScheduler", "Did you mean 'UniPCMultistepScheduler'"),
        ("diffusers:AmusedScheduler", "discrete tokens"),
        ("diffusers:EDMEulerScheduler", "path of its own"),
        ("diffusers:RePaintScheduler", "mask"),
        ("diffusers:CogVideoXDPMScheduler", "timestep"),
        ("diffusers:DDIMInverseScheduler", "data to noise"),
        ("diffusers:IPNDMScheduler", "path of its own"),
        ("diffusers:DPMSolverSDEScheduler", "seed alone"),
        ("diffusers:FlowMatchEulerDiscreteScheduler", "walks a flow"),
        ({"config": {"timestep_spacings": "leading"}}, "Did you mean 'timestep_spacing'"),
        ({"step": {"etta": 1.0}}, "Did you mean 'eta'"),
        ({"config": {"timestep_spacing": "diagonal"}}, "diagonal is not supported"),
        ({"config": {"prediction_type": "velocity"}}, "velocity"),
        ({"config": {"beta_end": 0.5}}, "another noise schedule"),
        ({"config": {"num_train_timesteps": 100}}, "trained on 1000"),
        (
            {"name": "diffusers:DDPMScheduler", "config": {"variance_type": "learned"}},
            "predicts no variance",
        ),
        (
            {"name": "diffusers:DDPMScheduler", "config": {"variance_type": "fixed_large_log"}},
            "does not lead",
        ),
        (
            {"name": "diffusers:UniPCMultistepScheduler", "config": {"use_flow_sigmas": True}},
            "walks a flow",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_said_where_the_recipe_is_read(
    folder: Path, choice: Any, reason: str
) -> None:
    if isinstance(choice, dict):
        choice = {"name": "diffusers:DDIMScheduler", **choice}
    with pytest.raises(LdmError, match=reason):
        compose({"model": str(folder), "scheduler": choice}, installed())


@pytest.mark.parametrize(
    ("name", "schedule", "reason"),
    [
        ("DDIMScheduler", FlowSchedule(), "trained on a flow"),
        ("FlowMatchHeunDiscreteScheduler", vp_schedule(), "variance-preserving"),
        ("EulerDiscreteScheduler", VESchedule(), "VESchedule"),
        ("HeunDiscreteScheduler", vp_schedule(rescale_zero_snr=True), "signal is zero"),
    ],
)
def test_a_class_for_another_path_is_refused(
    name: str, schedule: NoiseSchedule, reason: str
) -> None:
    with pytest.raises(LdmError, match=reason):
        own_grid(from_diffusers(name), schedule, 4)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Placeholder:
        _backends = ("torch", "scipy")

    monkeypatch.setattr(diffusers, "LMSDiscreteScheduler", Placeholder)
    with pytest.raises(LdmError, match="pip install scipy"):
        from_diffusers("LMSDiscreteScheduler")


def test_a_class_unheard_of_is_judged_by_its_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    class Asking:
        def __init__(self, *, trained_betas: Any = None) -> None: ...
        def step(
            self, model_output: Tensor, timestep: Any, sample: Tensor, mask: Tensor
        ) -> None: ...

    class Pathless:
        def __init__(self, *, temperature: float = 1.0) -> None: ...
        def step(self, model_output: Tensor, timestep: Any, sample: Tensor) -> None: ...

    monkeypatch.setattr(diffusers, "AskingScheduler", Asking, raising=False)
    monkeypatch.setattr(diffusers, "PathlessScheduler", Pathless, raising=False)
    with pytest.raises(LdmError, match="its step asks for mask"):
        from_diffusers("AskingScheduler")
    with pytest.raises(LdmError, match="takes no model's schedule"):
        from_diffusers("PathlessScheduler")


def test_a_class_computes_on_tensors_alone(pipe: Pipeline) -> None:
    composition = pipe.replace(scheduler="diffusers:DDIMScheduler").composition
    with pytest.raises(LdmError, match="tensors alone"):
        trace(composition.scheduler, composition.grid(4))


def test_no_spacing_goes_with_it(pipe: Pipeline) -> None:
    ours = pipe.replace(scheduler="diffusers:DDIMScheduler", spacing="karras")
    with pytest.raises(LdmError, match="no spacing"):
        ours(PROMPTS[0], num_inference_steps=2)


def test_every_class_of_diffusers_is_used_or_refused_with_a_reason() -> None:
    """A class that is new, or changed, must not slip in as silent nonsense."""
    names = [n for n in dir(diffusers) if n.endswith("Scheduler") and not n.startswith("Flax")]
    for name in names:
        for schedule in (vp_schedule(), FlowSchedule()):
            try:
                scheduler = from_diffusers(name)
                points = own_grid(scheduler, schedule, 6)
            except LdmError:
                continue
            assert name in (VP_CLASSES if schedule.discrete else FLOW_CLASSES)
            assert points[0].ratio > 5 * points[-1].ratio


def test_a_picture_on_points_of_the_schedulers_own_is_made_again(ldm: Any) -> None:
    """Its manifest has no spacing: the model's was not asked."""
    made = ldm("generate", "a red star", "--steps", 2, "--seed", 3, "--scheduler",
        "diffusers:EulerDiscreteScheduler", "--out", ".")  # fmt: skip
    assert made[0] == 0, made
    code, out, err = ldm("replay", "--allow-files", made[1].strip().splitlines()[-1])
    assert (code, "pixel for pixel" in out) == (0, True), err
    pipe = Pipeline.from_pretrained("shapes", scheduler="diffusers:EulerDiscreteScheduler")
    (manifest,) = pipe("a red star", seed=3, num_inference_steps=2).manifests
    again = Pipeline.from_pretrained(recipe=manifest["recipe"])
    assert again("a red star", seed=3, num_inference_steps=2).manifests == [manifest]
