"""A chain is called like a pipeline, and x is never taken for what it is not."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from ldm_core import LdmError, Output, Pipeline, chain
from ldm_core.contracts import LatentSpace, Step
from ldm_core.errors import NotFiniteError
from ldm_core.media.manifest import recipe_of
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.noise_schedule import FlowSchedule, vp_schedule
from ldm_core.numerics.point import CLEAN
from ldm_core.run.call import CallArguments
from ldm_core.run.chain import steps_before
from ldm_core.run.weights import Weights

CALL: dict[str, Any] = {"seed": 5, "num_inference_steps": 10, "output_type": "latent"}


def latents(made: Any, **call: Any) -> torch.Tensor:
    found: torch.Tensor = made("a red star", **{**CALL, **call}).images
    return found


@pytest.fixture
def ancestral(pipe: Pipeline) -> Pipeline:
    """It draws noise at every step, so that its streams are seen to go on."""
    return pipe.replace(scheduler="euler_ancestral")


@pytest.mark.parametrize("scheduler", ["euler", "ddim", "euler_ancestral", "heun"])
@pytest.mark.parametrize("at", [0.25, 0.8])
def test_a_pipeline_after_itself_is_itself(pipe: Pipeline, scheduler: str, at: float) -> None:
    """Of a scheduler without memory."""
    alone = pipe.replace(scheduler=scheduler)
    assert latents(chain(alone, alone, at=at)).equal(latents(alone))


def test_chains_are_parts_of_chains(ancestral: Pipeline, pipe: Pipeline) -> None:
    a, b, c = ancestral, pipe.replace(scheduler="heun"), pipe.replace(guidance={"scale": 1.5})
    left = latents(chain(chain(a, b, at=0.3), c, at=0.7))
    assert left.equal(latents(chain(a, chain(b, c, at=0.7), at=0.3)))
    for less in (chain(a, b, at=0.3), chain(a, c, at=0.7), chain(b, c, at=0.7)):
        assert not left.equal(latents(less))


def test_the_call_is_that_of_a_pipeline(pipe: Pipeline, ancestral: Pipeline) -> None:
    both = chain(ancestral, pipe, at=0.5)
    steps: list[Step] = []
    batches: list[Any] = []
    call: dict[str, Any] = {**CALL, "output_type": "np", "on_step": steps.append}
    out = both(["a", "b"], num_images_per_prompt=2, guidance_scale=2.0, width=24, **call)
    assert out.images.shape == (4, 16, 24, 3)
    assert out.seeds == [5, 6, 7, 8]
    assert [step.point.t for step in steps] == sorted((s.point.t for s in steps), reverse=True)
    assert len(steps) == 10
    for manifest in out.manifests:
        assert [part["recipe"]["guidance"]["scale"] for part in manifest["chain"]] == [2.0, 2.0]
    batches += both.batches(
        ["a", "a", "b", "b"],
        seed=out.seeds,
        width=24,
        num_inference_steps=10,
        guidance_scale=2.0,
        batch_size=3,
        output_type="np",
    )
    assert [len(batch.images) for batch in batches] == [3, 1]
    parts = Output.join(batches)
    torch.testing.assert_close(torch.tensor(parts.images), torch.tensor(out.images))


def test_it_can_be_replaced_and_streamed(pipe: Pipeline, ancestral: Pipeline) -> None:
    both = chain(ancestral, pipe, at=0.5)
    euler = both.replace(scheduler="euler")
    assert latents(euler).equal(latents(pipe.replace(scheduler="euler")))
    stream = both.stream("a red star", **CALL)
    assert len(list(stream)) == 10
    assert stream.output.images.equal(latents(both))


def test_the_manifest_makes_the_image_again(pipe: Pipeline, ancestral: Pipeline) -> None:
    both = chain(ancestral, pipe.replace(scheduler="heun"), at=0.6)
    out = both("a red star", **CALL)
    (manifest,) = out.manifests
    assert [part["recipe"]["scheduler"]["name"] for part in manifest["chain"]] == [
        "ldm-core:euler_ancestral",
        "ldm-core:heun",
    ]
    parts = [Pipeline.from_pretrained(recipe=recipe_of(p)) for p in manifest["chain"]]
    again = chain(*parts, at=manifest["at"][0])
    first = manifest["chain"][0]
    asked = {"num_inference_steps": first["num_inference_steps"], "output_type": "latent"}
    assert again(seed=first["seed"], **first["inputs"], **asked).images.equal(out.images)
    with pytest.raises(LdmError, match="chain of pipelines"):
        recipe_of(manifest)


def test_pipelines_of_other_points_meet_at_the_one_where_x_is(pipe: Pipeline) -> None:
    """What is left starts where the first stopped, and x is what it is said to be."""
    first = pipe.replace(spacing="karras")
    then = pipe.replace(spacing="trailing", scheduler="ddim")
    steps: list[Step] = []
    latents(chain(first, then, at=0.5), on_step=steps.append)
    points = [step.point for step in steps]
    own, other = first.composition.grid(10), then.composition.grid(10)
    stop = steps_before(own, 0.5)
    assert points[: stop + 1] == list(own[: stop + 1])
    assert points[stop] not in other
    assert points[stop + 1 :] == [p for p in other[:-1] if p.ratio < own[stop].ratio]
    assert all(there.ratio < here.ratio for here, there in pairwise(points))


def test_no_minute_step_is_made_where_points_nearly_meet() -> None:
    schedule = vp_schedule()
    grid = Grid([*map(schedule.at, (900, 600, 300)), CLEAN], schedule)
    assert grid.onward(grid[1])[0] is grid[1]
    near = schedule.at(600.05)
    assert grid.onward(near) == (near, *grid[2:])
    further = schedule.at(601)
    assert grid.onward(further) == (further, *grid[1:])
    assert grid.onward(schedule.at(999)) == (schedule.at(999), *grid)
    assert grid.onward(CLEAN) == (CLEAN,)


@pytest.mark.parametrize(
    ("share", "steps"), [(0.05, 0), (0.1, 1), (0.2, 2), (0.29, 2), (0.5, 5), (0.9, 9), (0.95, 9)]
)
def test_the_share_is_of_the_training_timesteps(share: float, steps: int) -> None:
    """The step from 900 lies before all shares from 0.1 on, that from 800 from 0.2 on, ..."""
    schedule = vp_schedule()
    grid = Grid([*(schedule.at(900.0 - 100 * i) for i in range(10)), CLEAN], schedule)
    assert steps_before(grid, share) == steps


@pytest.mark.parametrize(("share", "steps"), [(0.01, 1), (0.1, 2), (0.2, 3), (0.55, 6)])
def test_a_flow_has_its_share_of_time(share: float, steps: int) -> None:
    """A flow begins at timestep 1000 itself, so the step from there lies before any share."""
    flow = FlowSchedule()
    grid = Grid([*(flow.at(1000.0 - 100 * i) for i in range(10)), CLEAN], flow)
    assert steps_before(grid, share) == steps


@pytest.mark.parametrize("at", [0.0, 1.0, -0.5, float("nan")])
def test_a_share_that_is_none_is_refused(pipe: Pipeline, at: float) -> None:
    with pytest.raises(LdmError, match=r"'at' of chain|share between 0 and 1"):
        chain(pipe, pipe, at=at)


def test_shares_out_of_order_are_refused(pipe: Pipeline) -> None:
    with pytest.raises(LdmError, match=r"0\.8, 0\.5 do not rise"):
        chain(chain(pipe, pipe, at=0.8), pipe, at=0.5)


def test_a_chain_without_a_step_for_a_part_is_refused_before_sampling(pipe: Pipeline) -> None:
    calls: list[Step] = []
    for at, message in [(0.01, "no step before it"), (0.9999, "nothing is left to do")]:
        with pytest.raises(LdmError, match=message):
            latents(chain(pipe, pipe, at=at), num_inference_steps=4, on_step=calls.append)
    assert not calls


def test_a_scheduler_of_own_points_meets_others_at_them_alone(pipe: Pipeline) -> None:
    calls: list[Step] = []
    own = pipe.replace(scheduler="diffusers:DDIMScheduler")
    same = latents(chain(own, own, at=0.5))
    torch.testing.assert_close(same, latents(own))
    assert latents(chain(own, pipe, at=0.5)).isfinite().all()
    with pytest.raises(LdmError, match="only walks points of its own"):
        latents(chain(pipe.replace(spacing="karras"), own, at=0.5), on_step=calls.append)
    assert not calls


def test_other_noise_schedules_and_latents_are_refused(pipe: Pipeline, tmp_path: Path) -> None:
    linear = tiny.write_stable_diffusion(tmp_path / "linear", {"beta_schedule": "linear"})
    with pytest.raises(LdmError, match="different noise schedules"):
        chain(pipe, Pipeline.from_pretrained(linear))
    for latents_of_another in (LatentSpace.of_picture(8, 2), LatentSpace.of_picture(4, 4)):
        info = dataclasses.replace(pipe.model.info, latents=latents_of_another)
        other = Weights.of(dataclasses.replace(pipe.model, info=info))
        with pytest.raises(LdmError, match="different latents"):
            chain(pipe, dataclasses.replace(pipe, weights=other, unconverted=other))


def test_a_run_can_be_walked_in_parts_under_other_conditions(pipe: Pipeline) -> None:
    """Each part asks its own prompt: what a caller would see by hand."""
    ask = pipe.composition.plan
    first, then = (ask({"prompt": [p]}, [5], num_inference_steps=4) for p in ("a star", "a moon"))
    sampling = pipe.start(first)
    x = sampling.walk(sampling.x, stop=2)
    grid = sampling.run.grid
    resumed = pipe.resume(then, x, grid[2], sampling.run.noise)
    assert resumed.x is x
    assert resumed.run.grid == grid[2:]
    by_hand = sampling.walk(sampling.x, stop=2)
    denoise = pipe.start(then).denoiser()
    expected = pipe.composition.scheduler(by_hand, grid[2:], denoise, sampling.run.noise)
    assert resumed.walk(resumed.x).equal(expected)
    with pytest.raises(LdmError, match=r"x has the shape \(1, 4, 2, 2\)"):
        pipe.resume(then, x[..., :2, :2], grid[2])
    with pytest.raises(LdmError, match="nothing is left to do"):
        pipe.resume(then, x, grid[-1])


@pytest.mark.parametrize("at", [0.7, 0.9])
def test_a_picture_that_the_way_starts_from_is_the_first_ones_alone(
    pipe: Pipeline, at: float
) -> None:
    """Those after it go on with its latents, wherever on the way their own start would lie."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
    made = pipe.replace(conditioning=["text", "image"], scheduler="ddim")
    call = {"image": picture, "strength": 0.5}
    expected = latents(made, **call)
    assert latents(chain(made, made, at=at), **call).equal(expected)
    plan = made.composition.plan({"prompt": "a", **call}, [5], num_inference_steps=10)
    early = made.composition.grid(10)[2]
    assert len(plan.grid) == 6
    assert len(made.composition.resumed(plan, early).grid) == 9


def test_what_a_mask_keeps_is_kept_by_all(pipe: Pipeline) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
    white = np.zeros((16, 16), np.uint8)
    white[:8] = 255
    made = pipe.replace(conditioning=["text", "mask"], encoder={"sample": False})
    both = chain(made, made.replace(scheduler="euler_ancestral"), at=0.5)
    found = latents(both, image=picture, mask=Image.fromarray(white))
    torch.testing.assert_close(found[:, :, 4:], made.encode(picture)[:, :, 4:])
    other = latents(both, image=picture, mask=Image.fromarray(white), seed=6)
    assert not found[:, :, :4].allclose(other[:, :, :4])


@torch.no_grad()
def test_autoencoders_of_one_shape_and_scale_may_be_strangers() -> None:
    """`shapes` and `digits` have latents of one shape, factor and noise schedule."""
    shapes = Pipeline.from_pretrained("shapes")
    with pytest.raises(LdmError, match="different latents for one picture"):
        chain(shapes, Pipeline.from_pretrained("digits"), at=0.5)
    assert chain(shapes, Pipeline.from_pretrained("shapes", dtype="bfloat16"), at=0.5)
    broken = Pipeline.from_pretrained("shapes")
    broken.model.parts["vae"].module.encoder.conv_in.bias.fill_(torch.nan)
    with pytest.raises(NotFiniteError, match=r"'encoder.conv_in.bias' of the vae"):
        chain(shapes, broken, at=0.5)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_chain_takes_a_plan_for_each_of_its_pipelines(pipe: Pipeline, count: int) -> None:
    both = chain(pipe, pipe, at=0.5)
    plans = both.plans({"prompt": ["a red star"]}, [5], num_inference_steps=4)
    plans = [plans[0]] * count
    call = CallArguments.of(both.axes, prompt="a red star", seed=5)
    for use in (both.sample, both.manifests, lambda p: both.outputs([[one] for one in p], call)):
        with pytest.raises(
            LdmError, match=f"chain of 2 pipelines takes as many plans, not {count}"
        ):
            use(plans)


def test_the_batches_of_a_chain_are_as_many_for_each_pipeline(pipe: Pipeline) -> None:
    both = chain(pipe, pipe, at=0.5)
    plans = both.plans({"prompt": ["a red star"]}, [5], num_inference_steps=4)
    call = CallArguments.of(both.axes, prompt="a red star", seed=5)
    with pytest.raises(LdmError, match="as many batches"):
        both.outputs([[plans[0]], [plans[1], plans[1]]], call)
    with pytest.raises(LdmError, match="the argument 'call' of outputs"):
        both.outputs([[plans[0]], [plans[1]]], 3)  # type: ignore[arg-type]
    with pytest.raises(LdmError, match="the argument 'call' of outputs"):
        pipe.outputs(plans, 3)  # type: ignore[arg-type]
