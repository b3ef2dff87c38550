"""The Flux family: Diffusers' own pictures from the same folders."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import FluxPipeline

import tiny
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError
from ldm_core.plugins.registry import installed
from ldm_plugins.families.shared.flux_tokens import pack, positions, unpack
from peers import apart, distance_to_peer

SMALL = {"width": 24, "height": 16}

TOKENS = 24 + 512  # of the picture and of the text, which attend to each other


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_flux(tmp_path_factory.mktemp("dev"))


@pytest.fixture(scope="module")
def pipe(dev: Path) -> Pipeline:
    return Pipeline.from_pretrained(dev)


class Peer:
    """FluxPipeline, with its latents unpacked."""

    def __init__(self, folder: Path) -> None:
        self.pipeline = FluxPipeline.from_pretrained(folder)
        self.set_progress_bar_config = self.pipeline.set_progress_bar_config

    def __call__(self, *, width: int, height: int, output_type: str, **call: Any) -> Any:
        found = self.pipeline(width=width, height=height, output_type=output_type, **call)
        if output_type != "latent":
            return found
        factor = self.pipeline.vae_scale_factor
        return SimpleNamespace(
            images=self.pipeline._unpack_latents(found.images, height, width, factor)
        )


def latents(pipe: Pipeline, prompts: list[str], **call: Any) -> torch.Tensor:
    call = {"num_inference_steps": 2, "seed": 1, "output_type": "latent", **SMALL, **call}
    found: torch.Tensor = pipe(prompts, **call).images
    return found


@pytest.mark.parametrize(
    "call",
    [
        {},
        {"guidance_scale": 1.5},
        {"num_inference_steps": 1},
        {"width": 160, "height": 128},
        {"prompt": ["A Star", "a large red star on the blue circle at the small square"]},
    ],
    ids=["plain", "scale", "one step", "another shift", "beyond CLIP's window"],
)
def test_nothing_chosen_gives_what_diffusers_gives_with_dev(
    dev: Path, pipe: Pipeline, call: dict[str, Any]
) -> None:
    assert pipe.recipe["num_inference_steps"] == 28
    assert pipe.recipe["guidance"] == {"name": "embedded", "scale": 3.5}
    assert pipe.model.info.default_extent == {"width": 256, "height": 256}
    assert distance_to_peer(pipe, Peer(dev), **{**SMALL, **call}) < 1e-5


def test_nothing_chosen_gives_what_diffusers_gives_with_schnell(tmp_path: Path) -> None:
    folder = tiny.write_flux(tmp_path, guided=False)
    pipe = Pipeline.from_pretrained(folder)
    assert pipe.recipe["guidance"] == {"name": "none"}
    assert distance_to_peer(pipe, Peer(folder), **SMALL) < 1e-5


@pytest.mark.parametrize("guided", [True, False], ids=["dev", "schnell"])
def test_true_guidance_gives_what_diffusers_gives(tmp_path: Path, guided: bool) -> None:
    folder = tiny.write_flux(tmp_path, guided=guided)
    pipe = Pipeline.from_pretrained(folder)
    if guided:
        pipe = pipe.replace(guidance={"true_scale": 4.0})
    else:
        pipe = pipe.replace(guidance={"name": "classifier_free", "scale": 4.0})
    call: dict[str, Any] = {"negative_prompt": ["green", "a circle"], **SMALL}
    assert distance_to_peer(pipe, Peer(folder), their={"true_cfg_scale": 4.0}, **call) < 1e-5


def test_the_times_of_a_list_are_shifted_as_diffusers_shifts_its_sigmas(
    dev: Path, pipe: Pipeline
) -> None:
    base = {"name": "explicit", "timesteps": [1000, 700, 500]}
    listed = pipe.replace(spacing={"name": "flow_shift", "base": base})
    call: dict[str, Any] = {"their": {"sigmas": [1.0, 0.7, 0.5]}, **SMALL}
    call["num_inference_steps"] = 3
    assert distance_to_peer(listed, Peer(dev), **call) < 1e-5


def test_guidance_that_is_not_told_is_one(dev: Path, pipe: Pipeline) -> None:
    plain = pipe.replace(guidance="none")
    assert distance_to_peer(plain, Peer(dev), their={"guidance_scale": 1.0}, **SMALL) < 1e-5


def test_schnell_takes_no_number(tmp_path: Path) -> None:
    folder = tiny.write_flux(tmp_path, guided=False)
    with pytest.raises(LdmError, match="was not distilled to take its guidance"):
        compose({"model": str(folder), "guidance": "embedded"}, installed())


@pytest.mark.parametrize(
    "scheduler",
    [
        {"use_dynamic_shifting": False, "shift": 2.0},
        {"use_dynamic_shifting": True, "time_shift_type": "linear"},
        {"use_dynamic_shifting": True, "max_shift": 3.0, "max_image_seq_len": 1000},
        {"use_exponential_sigmas": True},
        {"shift_terminal": 0.02},
    ],
    ids=lambda value: "-".join(value),
)
def test_the_folders_shift_is_used(tmp_path: Path, scheduler: dict[str, Any]) -> None:
    folder = tiny.write_flux(tmp_path, scheduler=scheduler)
    pipe = Pipeline.from_pretrained(folder)
    assert distance_to_peer(pipe, Peer(folder), width=96, height=32) < 1e-5


def test_packing_is_that_of_diffusers() -> None:
    x = torch.randn(2, 4, 6, 10)
    packed = FluxPipeline._pack_latents(x, 2, 4, 6, 10)
    assert pack(x).equal(packed)
    assert unpack(packed, 3, 5).equal(x)
    theirs = FluxPipeline._prepare_latent_image_ids(2, 3, 5, "cpu", torch.float32)
    assert positions(3, 5, torch.device("cpu")).equal(theirs)


def test_an_image_depends_on_its_own_prompt_and_seed(pipe: Pipeline) -> None:
    both = latents(pipe, ["a red star", "a blue circle"], seed=[5, 5])
    assert apart(both[0], both[1]) > 0.005
    for i, prompt in enumerate(["a red star", "a blue circle"]):
        assert apart(latents(pipe, [prompt], seed=5)[0], both[i]) < 1e-5


@pytest.mark.parametrize("scheduler", ["heun", "dpmpp_2m", "unipc", "ddim", "euler_ancestral"])
@pytest.mark.parametrize("spacing", ["leading", "linspace", "karras", "exponential"])
def test_ordinary_schedulers_and_spacings_run_on_flow(
    pipe: Pipeline, scheduler: str, spacing: str
) -> None:
    chosen = pipe.replace(scheduler=scheduler, spacing=spacing)
    found = latents(chosen, ["a red star"], num_inference_steps=4)
    assert found.isfinite().all()
    assert 0.1 < found.std() < 10


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


def test_bfloat16_comes_near_float32(dev: Path, pipe: Pipeline) -> None:
    low = Pipeline.from_pretrained(dev, dtype="bfloat16", compute_dtype="bfloat16")
    assert apart(latents(low, ["a red star"]), latents(pipe, ["a red star"])) < 0.05


def test_a_side_that_makes_no_whole_patches_is_refused(pipe: Pipeline) -> None:
    """The real autoencoder shrinks by 8, and there the multiple is 16."""
    with pytest.raises(LdmError, match="multiples of 4"):
        latents(pipe, ["a red star"], width=18)


def test_sizes_are_multiples_of_16_with_the_real_autoencoder(tmp_path: Path) -> None:
    folder = tiny.write_flux(tmp_path)
    edit(folder / "vae" / "config.json", block_out_channels=[8, 16, 16, 16])
    composition = compose({"model": str(folder)}, installed())
    assert composition.info.default_extent == {"width": 1024, "height": 1024}
    composition.plan({"prompt": "a red star"}, [1], {"width": 1008, "height": 16})
    with pytest.raises(LdmError, match="multiples of 16, as in 1024x1024"):
        composition.plan({"prompt": "a red star"}, [1], {"width": 1000, "height": 1024})


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("transformer/config.json", {"in_channels": 96}, "takes 96 channels a token"),
        (
            "transformer/config.json",
            {"joint_attention_dim": 64},
            "width 64 from T5, which gives 32",
        ),
        ("text_encoder/config.json", {"hidden_size": 32}, "width 24 from CLIP, which gives 32"),
        (
            "model_index.json",
            {"transformer": ["diffusers", "SD3Transformer2DModel"]},
            "should be a",
        ),
        (
            "scheduler/scheduler_config.json",
            {"_class_name": "EulerDiscreteScheduler"},
            "does not step along a rectified flow",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_components_that_do_not_fit_are_refused(
    tmp_path: Path, file: str, changes: dict[str, Any], message: str
) -> None:
    folder = tiny.write_flux(tmp_path)
    edit(folder / file, **changes)
    with pytest.raises(LdmError, match=message):
        compose({"model": str(folder)}, installed())


@pytest.mark.parametrize("part", ["text_encoder_2", "tokenizer_2", "vae"])
def test_a_missing_part_is_said(tmp_path: Path, part: str) -> None:
    folder = tiny.write_flux(tmp_path)
    (folder / part).rename(tmp_path / "elsewhere")
    with pytest.raises(LdmError, match=f"lacks {part}/"):
        compose({"model": str(folder)}, installed())
