"""The Stable Diffusion 3 family: Diffusers' own pictures from the same folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusion3Pipeline

import tiny
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.plugins.registry import installed
from peers import apart, distance_to_peer

NO_T5 = {"text_encoder_3": None, "tokenizer_3": None}
FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
LONG = "a large red star on the blue circle at the small square on the green background"

TOKENS = 16 + 12 + 256  # of the picture and of the text, which attend to each other


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_stable_diffusion_3(tmp_path_factory.mktemp("sd3"))


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Pipeline:
    return Pipeline.from_pretrained(folder)


def latents(pipe: Pipeline, prompts: list[str], **call: Any) -> torch.Tensor:
    call = {"num_inference_steps": 2, "seed": 1, "output_type": "latent", **call}
    found: torch.Tensor = pipe(prompts, **call).images
    return found


@pytest.mark.parametrize(
    "call",
    [
        {},
        {"negative_prompt": ["green", ""], "width": 32, "height": 24},
        {"guidance_scale": 1.0},
        {"num_inference_steps": 1},
        {"prompt": ["A Star", LONG]},
    ],
    ids=["plain", "negative prompt", "no guidance", "one step", "beyond CLIP's window"],
)
def test_nothing_chosen_gives_what_diffusers_gives(
    folder: Path, pipe: Pipeline, call: dict[str, Any]
) -> None:
    assert pipe.recipe["num_inference_steps"] == 28
    assert pipe.recipe["guidance"] == {"name": "classifier_free", "scale": 7.0}
    theirs = StableDiffusion3Pipeline.from_pretrained(folder)
    assert distance_to_peer(pipe, theirs, **call) < 1e-5


def test_a_folder_without_t5_gives_what_diffusers_gives(tmp_path: Path) -> None:
    folder = tiny.write_stable_diffusion_3(tmp_path, t5=False)
    theirs = StableDiffusion3Pipeline.from_pretrained(folder, **NO_T5)
    pipe = Pipeline.from_pretrained(folder)
    assert distance_to_peer(pipe, theirs, negative_prompt=["green", ""]) < 1e-5
    with pytest.warns(LdmWarning, match="'small square on the green background' is left out"):
        latents(pipe, [LONG])


@pytest.mark.parametrize(
    ("scheduler", "spacing"),
    [
        ({"shift": 1.0}, {"name": "flow_shift", "shift": 1.0}),
        ({"shift": 3.0, "shift_terminal": 0.1}, {"shift": 3.0, "terminal": 0.1}),
        ({"use_dynamic_shifting": True}, {"dynamic": True, "max_shift": 1.15, "patch": 2}),
        ({"use_dynamic_shifting": True, "max_shift": 2.0}, {"dynamic": True, "max_shift": 2.0}),
        ({"use_karras_sigmas": True}, {"shift": 3.0, "curve": "karras"}),
    ],
    ids=lambda value: "-".join(map(str, value)),
)
def test_the_folders_shift_is_used(
    tmp_path: Path, scheduler: dict[str, Any], spacing: dict[str, Any]
) -> None:
    folder = tiny.write_stable_diffusion_3(tmp_path, scheduler=scheduler)
    pipe = Pipeline.from_pretrained(folder)
    assert pipe.recipe["spacing"].items() >= spacing.items()
    theirs = StableDiffusion3Pipeline.from_pretrained(folder)
    assert distance_to_peer(pipe, theirs, width=64) < 1e-5


@pytest.mark.parametrize(
    "scheduler",
    [
        {"_class_name": "FlowMatchHeunDiscreteScheduler"},
        {"_class_name": "UniPCMultistepScheduler", "flow_shift": 3.0, **FLOW},
        {"_class_name": "DPMSolverMultistepScheduler", "flow_shift": 2.0, **FLOW},
    ],
    ids=lambda value: value["_class_name"],
)
def test_a_class_without_counterpart_runs_as_it_is(
    tmp_path: Path, scheduler: dict[str, Any]
) -> None:
    folder = tiny.write_stable_diffusion_3(tmp_path, scheduler=scheduler)
    pipe = Pipeline.from_pretrained(folder)
    assert pipe.recipe["scheduler"] == {"name": f"diffusers:{scheduler['_class_name']}"}
    theirs = StableDiffusion3Pipeline.from_pretrained(folder)
    assert distance_to_peer(pipe, theirs) < 1e-5
    shift = scheduler.get("flow_shift", 3.0)
    assert pipe.recipe["spacing"] == {"name": "flow_shift", "shift": shift}
    assert latents(pipe.replace(scheduler="heun"), ["a red star"]).isfinite().all()


def test_a_stochastic_flow_scheduler_draws_from_the_seeds(tmp_path: Path) -> None:
    """Diffusers' pipeline passes no generator on, so there is nothing to compare with."""
    folder = tiny.write_stable_diffusion_3(tmp_path, scheduler={"stochastic_sampling": True})
    pipe = Pipeline.from_pretrained(folder)
    one = latents(pipe, ["a red star"], seed=3)
    assert one.equal(latents(pipe, ["a red star"], seed=3))
    assert apart(one, latents(pipe.replace(scheduler="euler"), ["a red star"], seed=3)) > 1e-3


def test_the_3_5_network_gives_what_diffusers_gives(tmp_path: Path) -> None:
    """Its queries and keys are normalised, and its first layers attend to the picture twice."""
    network: dict[str, Any] = {"qk_norm": "rms_norm", "dual_attention_layers": (0,)}
    folder = tiny.write_stable_diffusion_3(tmp_path, **network)
    theirs = StableDiffusion3Pipeline.from_pretrained(folder)
    assert distance_to_peer(Pipeline.from_pretrained(folder), theirs) < 1e-5


def test_an_image_depends_on_its_own_prompt_and_seed(pipe: Pipeline) -> None:
    both = latents(pipe, ["a red star", "a blue circle"], seed=[5, 5])
    assert apart(both[0], both[1]) > 0.01
    for i, prompt in enumerate(["a red star", "a blue circle"]):
        assert apart(latents(pipe, [prompt], seed=5)[0], both[i]) < 1e-5


@pytest.mark.parametrize(
    "scheduler", ["euler", "heun", "dpmpp_2m", "unipc", "ddim", "ddpm", "euler_ancestral"]
)
@pytest.mark.parametrize(
    "spacing", ["flow_shift", "leading", "trailing", "linspace", "karras", "exponential"]
)
def test_ordinary_schedulers_and_spacings_run_on_flow(
    pipe: Pipeline, scheduler: str, spacing: str
) -> None:
    chosen = pipe.replace(scheduler=scheduler, spacing=spacing, guidance="none")
    for steps in (1, 2, 5):
        found = latents(chosen, ["a red star"], num_inference_steps=steps)
        assert found.isfinite().all()
    assert 0.1 < found.std() < 10


def test_deterministic_schedulers_agree_at_many_steps(pipe: Pipeline) -> None:
    """They solve one equation, here on one grid."""
    plain = pipe.replace(guidance="none", spacing="trailing")
    exact = latents(plain.replace(scheduler="heun"), ["a red star"], num_inference_steps=100)
    for scheduler, bound in (("euler", 0.02), ("ddim", 0.02), ("dpmpp_2m", 2e-3), ("unipc", 2e-3)):
        chosen = plain.replace(scheduler=scheduler)
        assert apart(latents(chosen, ["a red star"], num_inference_steps=100), exact) < bound


def test_another_attention_serves_the_network(pipe: Pipeline) -> None:
    lengths = set()

    def by_the_formula(q: Any, k: Any, v: Any, mask: Any, scale: float) -> torch.Tensor:
        lengths.add(q.shape[-2])
        if mask is not None and mask.dtype == torch.bool:
            mask = torch.zeros(mask.shape).masked_fill(~mask, -torch.inf)
        scores = q @ k.transpose(-1, -2) * scale + (0 if mask is None else mask)
        found: torch.Tensor = scores.softmax(dim=-1) @ v
        return found

    other = latents(pipe.replace(attention=by_the_formula), ["a red star"])
    assert TOKENS in lengths
    assert apart(other, latents(pipe, ["a red star"])) < 1e-5


def test_bfloat16_comes_near_float32(folder: Path, pipe: Pipeline) -> None:
    low = Pipeline.from_pretrained(folder, dtype="bfloat16", compute_dtype="bfloat16")
    assert apart(latents(low, ["a red star"]), latents(pipe, ["a red star"])) < 0.05


def test_a_size_that_does_not_fit_is_refused(pipe: Pipeline) -> None:
    with pytest.raises(LdmError, match="multiples of 4"):
        latents(pipe, ["a red star"], width=18)
    with pytest.raises(LdmError, match=r"size 128x16 does not fit .* width should be at most 64"):
        latents(pipe, ["a red star"], width=128)


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        (
            "vae/config.json",
            {"latent_channels": 16},
            "takes 4 channels and the autoencoder gives 16",
        ),
        ("transformer/config.json", {"joint_attention_dim": 48}, "two CLIPs together give 56"),
        ("transformer/config.json", {"joint_attention_dim": 80}, "width 80, and T5 gives 64"),
        ("transformer/config.json", {"pooled_projection_dim": 48}, "pooled text of width 48"),
        ("model_index.json", {"tokenizer_3": [None, None]}, "without the other"),
        ("model_index.json", {"text_encoder_2": [None, None]}, "text_encoder_2 should be a CLIP"),
        (
            "scheduler/scheduler_config.json",
            {"_class_name": "DDIMScheduler"},
            "does not step along a rectified flow",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_components_that_do_not_fit_are_refused(
    tmp_path: Path, file: str, changes: dict[str, Any], message: str
) -> None:
    folder = tiny.write_stable_diffusion_3(tmp_path)
    edit(folder / file, **changes)
    with pytest.raises(LdmError, match=message):
        compose({"model": str(folder)}, installed())


@pytest.mark.parametrize("part", ["text_encoder_3", "tokenizer_2", "transformer", "scheduler"])
def test_a_missing_part_is_said(tmp_path: Path, part: str) -> None:
    folder = tiny.write_stable_diffusion_3(tmp_path)
    (folder / part).rename(tmp_path / "elsewhere")
    with pytest.raises(LdmError, match=f"lacks {part}/"):
        compose({"model": str(folder)}, installed())
