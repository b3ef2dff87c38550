"""Guidance that stops where its branches agree, image by image."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ldm_core import Pipeline
from ldm_core.contracts import Step
from peers import apart

CALL: dict[str, Any] = {"seed": 3, "num_inference_steps": 8, "output_type": "latent"}
PROMPTS = ["a red star", "a blue circle", "a moon"]


def adaptive(pipe: Pipeline, threshold: float, **options: Any) -> Pipeline:
    return pipe.replace(
        guidance={"name": "adaptive", "scale": 4.0, "threshold": threshold, **options}
    )


def rows_of(pipe: Pipeline) -> list[int]:
    """How many rows each call of the network has, from now on."""
    rows: list[int] = []
    unet = pipe.model.parts["unet"].module
    unet.conv_in.register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    return rows


def cosines_of(pipe: Pipeline, prompt: str, seed: int) -> list[float]:
    """Between the velocities of the two branches, at each step of classifier-free guidance of the
    scale 4, worked out from networks that are asked under one of them alone."""
    plain = pipe.replace(guidance={"name": "classifier_free", "scale": 4.0})
    steps: list[Step] = []
    plain(prompt, on_step=steps.append, **{**CALL, "seed": seed})
    cosines = []
    for step in steps:
        velocities = []
        for text in (prompt, ""):
            plan = pipe.composition.plan(
                {"prompt": [text], "negative_prompt": [None]}, [seed], {}, 8
            )
            with torch.no_grad():
                denoise = pipe.replace(guidance="none").start(plan).denoiser()
                x0 = denoise(step.x, step.point)
            noise = (step.x - step.point.alpha * x0) / step.point.sigma
            velocities.append((step.point.alpha * noise - step.point.sigma * x0).flatten())
        cosines.append(float(torch.nn.functional.cosine_similarity(*velocities, dim=0)))
    return cosines


def test_where_they_never_agree_it_is_classifier_free(pipe: Pipeline) -> None:
    plain = pipe.replace(guidance={"name": "classifier_free", "scale": 4.0})
    assert adaptive(pipe, 1.0)(PROMPTS, **CALL).images.equal(plain(PROMPTS, **CALL).images)


@pytest.mark.parametrize("kind", ["Stable Diffusion", "SD v-prediction", "SD 3", "DiT"])
def test_where_they_agree_at_once_one_step_is_guided(pipes: Any, kind: str) -> None:
    pipe = pipes(kind)
    call = {**CALL, "class_label": [3, 7]} if kind == "DiT" else {**CALL, "prompt": PROMPTS[:2]}
    grid = pipe.composition.plan(_inputs(kind, call), [3, 4], {}, 8).grid
    first = {"name": "classifier_free", "scale": 4.0, "low": grid[1].ratio * 1.000001}
    once = pipe.replace(guidance=first)(**call).images
    assert apart(adaptive(pipe, -1.0)(**call).images, once) < 1e-6


def _inputs(kind: str, call: dict[str, Any]) -> dict[str, Any]:
    if kind == "DiT":
        return {"class_label": call["class_label"], "negative_class_label": [None, None]}
    return {"prompt": call["prompt"], "negative_prompt": [None, None]}


def test_it_stops_at_the_threshold_on_each_image_alone(pipe: Pipeline) -> None:
    cosines = [cosines_of(pipe, prompt, 3 + i) for i, prompt in enumerate(PROMPTS)]
    levels = sorted(cosine for each in cosines for cosine in each[:-1])
    threshold = (levels[len(levels) // 2] + levels[len(levels) // 2 + 1]) / 2
    ends = [next((i for i, cosine in enumerate(each) if cosine > threshold), 7) for each in cosines]
    assert len(set(ends)) > 1, "the images stop at different steps"
    some = adaptive(pipe, threshold)
    rows = rows_of(some)
    together = some(PROMPTS, **CALL).images
    latest = max(ends)
    assert rows == [6] * (latest + 1) + [3] * (8 - latest - 1)
    rows.clear()
    for i, prompt in enumerate(PROMPTS):
        alone = some(prompt, **{**CALL, "seed": 3 + i}).images
        assert rows == [2] * (ends[i] + 1) + [1] * (8 - ends[i] - 1)
        assert apart(alone, together[i : i + 1]) < 1e-5
        rows.clear()
    assert some(PROMPTS, **CALL).images.equal(together)


def test_an_interval_and_another_guidance_around(pipe: Pipeline) -> None:
    inner = {"name": "adaptive", "scale": 4.0, "threshold": 0.5}
    around = pipe.replace(guidance={"name": "dynamic_threshold", "inner": inner, "limit": 50.0})
    assert apart(around("a", **CALL).images, adaptive(pipe, 0.5)("a", **CALL).images) < 1e-5
    assert adaptive(pipe, 0.5, low=1e9)("a", **CALL).images.equal(
        pipe.replace(guidance="none")("a", **CALL).images
    )


def test_a_run_that_goes_back_asks_again(pipe: Pipeline) -> None:
    some = adaptive(pipe, 0.5)
    plan = some.composition.plan({"prompt": ["a"], "negative_prompt": [None]}, [3], {}, 8)
    sampling = some.start(plan)
    once = sampling.walk(sampling.x)
    assert sampling.walk(sampling.x).equal(once)
