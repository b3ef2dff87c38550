"""Pipelines: an image depends on its seed alone; choices change nothing but what they name."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.contracts import Step

PROMPTS = ["a red star", "a blue circle", "a green square", "a yellow star"]


def latents(pipe: Pipeline, prompts: Any = "a red star", **options: Any) -> Any:
    return pipe(prompts, output_type="latent", **options).images


@pytest.mark.parametrize("scheduler", ["ddim", "euler_ancestral"])
def test_an_image_depends_on_its_seed_alone(pipe: Pipeline, scheduler: str) -> None:
    pipe = pipe.replace(scheduler=scheduler)
    seeds = [5, 6, 7, 8]
    together = latents(pipe, PROMPTS, seed=seeds)
    backwards = latents(pipe, PROMPTS[::-1], seed=seeds[::-1]).flip(0)
    in_parts = latents(pipe, PROMPTS, seed=5, batch_size=3)
    alone = torch.cat([latents(pipe, p, seed=s) for p, s in zip(PROMPTS, seeds, strict=True)])
    there_and_back = latents(
        pipe.replace(scheduler="heun", spacing="karras").replace(
            scheduler=scheduler, spacing="leading"
        ),
        PROMPTS,
        seed=seeds,
    )
    for other in (backwards, in_parts, alone, there_and_back):
        assert (other - together).norm() < 2e-6 * together.norm()
    assert not together[0].allclose(together[1])


def test_replace_shares_weights_and_leaves_the_first_pipeline_alone(pipe: Pipeline) -> None:
    before = latents(pipe, seed=1)
    other = pipe.replace(scheduler={"name": "ddim", "eta": 1.0}, spacing="trailing")
    assert other.model is pipe.model
    assert not latents(other, seed=1).allclose(before)
    assert latents(pipe, seed=1).equal(before)


def test_going_back_to_the_models_scheduler_restores_its_options(pipe: Pipeline) -> None:
    back = pipe.replace(spacing="karras").replace(spacing="leading")
    assert back.recipe["spacing"] == pipe.recipe["spacing"]
    assert back.recipe["spacing"]["steps_offset"] == 1


def test_seeds_count_up_and_are_drawn_where_none_is_given(pipe: Pipeline) -> None:
    out = pipe(PROMPTS[:2], seed=7, num_images_per_prompt=2)
    assert out.seeds == [7, 8, 9, 10]
    assert [m["inputs"]["prompt"] for m in out.manifests] == [PROMPTS[0]] * 2 + [PROMPTS[1]] * 2
    drawn = pipe("a red star", num_images_per_prompt=2)
    again = pipe("a red star", seed=drawn.seeds, num_images_per_prompt=2)
    assert [i.tobytes() for i in again.images] == [i.tobytes() for i in drawn.images]


def test_output_types_hold_the_same_picture(pipe: Pipeline) -> None:
    made = {t: pipe("a red star", seed=1, output_type=t).images for t in ("pil", "np", "pt")}
    assert made["np"].shape == (1, 16, 16, 3)
    assert made["pt"].shape == (1, 3, 16, 16)
    assert isinstance(made["pil"][0], Image.Image)
    np.testing.assert_array_equal(made["pt"].permute(0, 2, 3, 1).numpy(), made["np"])
    np.testing.assert_array_equal(np.asarray(made["pil"][0]), (made["np"][0] * 255).round())
    x0 = latents(pipe, seed=1)
    torch.testing.assert_close(pipe.decode(x0).div(2).add(0.5).clamp(0, 1), made["pt"])


@pytest.mark.parametrize(
    ("choice", "rows"),
    [("none", 1), ({"name": "classifier_free", "scale": 1.0}, 1), ("classifier_free", 2)],
)
def test_guidance_that_is_off_costs_no_network_call(
    pipe: Pipeline, choice: Any, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    unet = pipe.model.parts["unet"].module
    hook = unet.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    latents(pipe.replace(guidance=choice), seed=1, num_inference_steps=3)
    hook.remove()
    assert seen == [rows] * 3


def test_guidance_at_scale_one_equals_none(pipe: Pipeline) -> None:
    one = latents(pipe, seed=1, guidance_scale=1.0)
    assert one.equal(latents(pipe.replace(guidance="none"), seed=1))


def test_a_plain_function_serves_as_a_scheduler(pipe: Pipeline) -> None:
    def mine(x: Any, grid: Any, denoise: Any, noise: Any, *, times: float = 1.0) -> Any:
        for here, there in pairwise(grid):
            x0 = denoise(x, here)
            x = there.alpha * x0 + times * there.sigma / here.sigma * (x - here.alpha * x0)
        return x

    torch.testing.assert_close(latents(pipe.replace(scheduler=mine), seed=1), latents(pipe, seed=1))
    other = pipe.replace(scheduler={"name": mine, "times": 0.5})
    out = other("a red star", seed=1)
    assert "mine" in out.manifests[0]["recipe"]["scheduler"]["python"]


def test_observers_hear_of_every_evaluation(pipe: Pipeline) -> None:
    steps: list[Step] = []
    final = latents(pipe.replace(scheduler="euler"), seed=1, on_step=steps.append)
    assert [s.index for s in steps] == [0, 1, 2, 3]
    assert [s.call for s in steps] == [0, 1, 2, 3]
    assert final.shape == steps[0].x0.shape == steps[0].x.shape
    heun: list[Step] = []
    latents(pipe.replace(scheduler="heun", spacing="trailing"), seed=1, on_step=heun.append)
    assert len(heun) == 7  # two evaluations a step, and one for the last
    assert [s.index for s in heun] == [0, 1, 1, 2, 2, 3, 3]


def test_denoiser_wrappers_are_applied(pipe: Pipeline) -> None:
    clipped = pipe.replace(denoisers=[{"name": "clip_x0", "limit": 0.25}])
    steps: list[Step] = []
    latents(clipped, seed=1, on_step=steps.append)
    assert max(float(s.x0.abs().max()) for s in steps) == 0.25


def test_encode_is_the_inverse_of_decode_in_shape_and_reproducible(pipe: Pipeline) -> None:
    picture = Image.fromarray(np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3))
    x0 = pipe.encode([picture, picture], seed=[3, 4])
    assert x0.shape == (2, 4, 8, 8)
    assert not x0[0].equal(x0[1])
    array = np.asarray(picture, dtype=np.float32)[None] / 255
    assert pipe.encode(array, seed=3).equal(pipe.encode(picture, seed=3))
    assert pipe.decode(x0).shape == (2, 3, 16, 16)
    with pytest.raises(LdmError, match="have no frames, and so no frame_rate"):
        pipe.decode(x0, frame_rate=8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"prompt": "(:1.5)"}, "prompt is empty but for a weight"),
        ({"prompt": "caf\udce9"}, "is no Unicode text: its letter 4"),
        ({"negative_prompt": "\ud83d"}, "the negative_prompt .* is no Unicode text"),
        ({"prompt": []}, "nothing to make"),
        ({"width": 0}, "multiples of 2"),
        ({"prompt": 3}, "should be text"),
        ({"prompt": [["a", "b"]]}, "should be text"),
        ({"prompt": {"a": 1}}, "should be text"),
        ({"prompt": None}, "needs 'prompt'"),
        ({"width": 15}, "multiples of 2"),
        ({"width": "16"}, r"'width' .* not .*'16'.*: input should be a whole number"),
        ({"width": 16.0}, r"'width' .* not .*16\.0.*: input should be a whole number"),
        ({"seed": 1.5}, r"'seed' .* not .*1\.5.*: input should be a whole number"),
        ({"seed": [1, "2"]}, r"'seed' .* not .*'2'.*: input should be a whole number"),
        (
            {"num_inference_steps": "4"},
            r"'num_inference_steps' .* not .*'4'.*: input should be a whole number",
        ),
        ({"batch_size": 2.0}, r"'batch_size' .* not .*2\.0.*: input should be a whole number"),
        ({"width": 16, "extent": {"width": 32}}, "width is given twice"),
        ({"height": -2}, "multiples of 2"),
        ({"num_inference_steps": 0}, "at least 1"),
        ({"num_inference_steps": 1001}, "trained on 1000"),
        ({"seed": -1}, "a seed is"),
        ({"seed": True}, r"'seed' .* not .*True.*: input should be a whole number"),
        ({"seed": {7, 8}}, r"'seed' .* not .*.*: input should be a whole number"),
        ({"seed": "78"}, r"'seed' .* not .*'78'.*: input should be a whole number"),
        ({"seed": np.arange(2.0)}, r"'seed' .* input should be a whole number"),
        ({"batch_size": True}, r"'batch_size' .* not .*True.*: input should be a whole number"),
        ({"prompt": ["a"], "seed": [1, 2]}, "2 seeds for 1"),
        ({"output_type": "jpeg"}, "no output type"),
        ({"batch_size": 0}, "batch_size"),
        ({"mask": "x"}, "takes no 'mask'"),
        ({"prompt": ["a", "b", "c"], "negative_prompt": ["a", "b"]}, "different lengths"),
        ({"guidance_scale": -1.0}, "must not be negative"),
    ],
)
def test_bad_input_is_refused_before_sampling(
    pipe: Pipeline, call: dict[str, Any], message: str
) -> None:
    called: list[Step] = []
    with pytest.raises(LdmError, match=message):
        pipe(**{"prompt": "a red star", "on_step": called.append, **call})
    assert not called


def test_a_model_that_cannot_start_at_pure_noise_says_so(tmp_path: Any) -> None:
    folder = tiny.write_stable_diffusion(
        tmp_path, {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    )
    with pytest.raises(LdmError, match=r"signal is zero.*choose 'leading'"):
        Pipeline.from_pretrained(folder)("a red star")
    assert Pipeline.from_pretrained(folder, spacing="leading")("a red star").images


def test_a_pipeline_never_changes(pipe: Pipeline) -> None:
    with pytest.raises(AttributeError):
        pipe.composition = pipe.composition  # type: ignore[misc]


def test_weights_cannot_be_replaced(pipe: Pipeline) -> None:
    with pytest.raises(LdmError, match="belongs to the weights"):
        pipe.replace(dtype="float16")


def test_ready_made_parts_are_checked_like_plugins(pipe: Pipeline) -> None:
    from ldm_plugins.guidance.classifier_free import ClassifierFree, classifier_free

    by_name = latents(pipe.replace(guidance={"name": "classifier_free", "scale": 3.0}), seed=1)
    for guidance in (ClassifierFree(3.0), {"name": classifier_free, "scale": 3.0}):
        assert latents(pipe.replace(guidance=guidance), seed=1).equal(by_name)
    assert pipe.replace(guidance=classifier_free).composition.guidance == ClassifierFree(7.5)
    with pytest.raises(LdmError, match="made in Python"):
        pipe.replace(guidance=ClassifierFree(3.0))("a red star", guidance_scale=2.0)
    with pytest.raises(LdmError, match="no option 'scael'"):
        pipe.replace(guidance={"name": classifier_free, "scael": 2.0})


def test_whole_numbers_of_numpy_and_torch_are_those_of_python(pipe: Pipeline) -> None:
    numbers: dict[str, Any] = {"seed": np.int64(3), "width": np.int32(16)}
    made = pipe("a red star", num_inference_steps=torch.tensor(2), **numbers)
    assert json.loads(json.dumps(made.manifests[0]))["seed"] == 3
    plain = pipe("a red star", seed=3, width=16, num_inference_steps=2)
    assert made.images[0] == plain.images[0]


@pytest.mark.parametrize(
    "seeds",
    [range(7, 9), (7, 8), np.arange(7, 9), torch.tensor([7, 8]), [np.int64(7), torch.tensor(8)]],
    ids=repr,
)
def test_seeds_of_any_kind_are_those_of_a_list(pipe: Pipeline, seeds: Any) -> None:
    """In a call, in the plan beneath it, and where pictures are encoded."""
    made, plain = (pipe("a red star", seed=s, num_inference_steps=1) for s in (seeds, [7, 8]))
    assert made.seeds == plain.seeds == [7, 8]
    assert [i.tobytes() for i in made.images] == [i.tobytes() for i in plain.images]
    assert json.loads(json.dumps([m["seed"] for m in made.manifests])) == [7, 8]
    assert pipe.composition.plan({"prompt": "a"}, list(seeds)).request.seeds == [7, 8]
    pictures = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert pipe.encode(pictures, seed=seeds).equal(pipe.encode(pictures, seed=[7, 8]))


def test_a_model_of_pictures_refuses_a_frame_rate(pipe: Pipeline) -> None:
    with pytest.raises(LdmError, match="makes image, which has no frame_rate"):
        pipe("a red star", seed=1, frame_rate=8)
