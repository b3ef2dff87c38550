"""The Krea 2 family: Diffusers' own pictures from the same folders."""

from __future__ import annotations

import json
import re
import shutil
from functools import reduce
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.plugins.registry import installed
from peers import apart, distance_to_peer
from tiny.lora import ATTENTION, write_lora
from unpacked import Unpacked

SMALL: dict[str, Any] = {"width": 24, "height": 16, "num_inference_steps": 3}
UNEQUAL = ["a red star", "a blue circle on the large green background"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_krea_2(tmp_path_factory.mktemp("krea"))


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Pipeline:
    return Pipeline.from_pretrained(folder)


@pytest.fixture(scope="module")
def peer(folder: Path) -> diffusers.Krea2Pipeline:
    return diffusers.Krea2Pipeline.from_pretrained(folder)


def latents(pipe: Pipeline, prompt: Any, **call: Any) -> torch.Tensor:
    made: torch.Tensor = pipe(prompt, output_type="latent", **{**SMALL, "seed": 1, **call}).images
    return made


@pytest.mark.parametrize(
    "call",
    [
        {},
        {"negative_prompt": ["a square", " "], "prompt": UNEQUAL},
        {"guidance_scale": 2.0},
        {"guidance_scale": 0.0, "prompt": UNEQUAL},
        {"width": 96, "height": 64},
    ],
    ids=["plain", "captions of differing length", "scale", "no guidance", "another shift"],
)
def test_nothing_chosen_gives_what_diffusers_gives(
    pipe: Pipeline, peer: Any, call: dict[str, Any]
) -> None:
    """A scale means what it means there: 0 is no guidance."""
    assert pipe.recipe["num_inference_steps"] == 28
    guidance = {"name": "classifier_free", "scale": 4.5, "from_positive": True}
    assert pipe.recipe["guidance"] == guidance
    assert pipe.model.info.default_extent == {"width": 256, "height": 256}
    assert distance_to_peer(pipe, Unpacked(peer), **{**SMALL, **call}) < 1e-5


def test_turbo_gives_what_diffusers_gives(tmp_path: Path) -> None:
    folder = tiny.write_krea_2(tmp_path, turbo=True)
    pipe = Pipeline.from_pretrained(folder)
    assert pipe.recipe["num_inference_steps"] == 8
    assert pipe.recipe["guidance"] == {"name": "none"}
    theirs = diffusers.Krea2Pipeline.from_pretrained(folder)
    for size in ({}, {"width": 96, "height": 64}):
        call = {**SMALL, **size, "their": {"guidance_scale": 0.0}}
        assert distance_to_peer(pipe, Unpacked(theirs), **call) < 1e-5


@pytest.mark.parametrize(
    "turbo", [pytest.param(False, marks=pytest.mark.slow), True], ids=["base", "turbo"]
)
def test_a_modular_index_is_read_as_any(tmp_path: Path, turbo: bool) -> None:
    """Written by Diffusers' own modular pipeline, from the folder with the usual index."""
    plain = tiny.write_krea_2(tmp_path / "plain", turbo=turbo, num_text_layers=12)
    usual = json.loads((plain / "model_index.json").read_text())
    del usual["text_encoder_select_layers"]
    layers = {"num_hidden_layers": 36}
    (plain / "model_index.json").write_text(json.dumps(usual))
    tiny.write_qwen_3_vl(plain, layers=layers["num_hidden_layers"])
    modular = diffusers.ModularPipeline.from_pretrained(str(plain))
    modular.load_components()
    modular.save_pretrained(str(tmp_path / "modular"), overwrite_modular_index=True)
    assert not (tmp_path / "modular" / "model_index.json").exists()
    one, other = (Pipeline.from_pretrained(tmp_path / name) for name in ("plain", "modular"))
    assert other.recipe["guidance"] == one.recipe["guidance"]
    assert other.recipe["num_inference_steps"] == (8 if turbo else 28)
    mine = latents(other, "a red star")
    assert mine.equal(latents(one, "a red star"))
    modular.set_progress_bar_config(disable=True)
    made = modular(
        prompt="a red star",
        generator=torch.Generator().manual_seed(1),
        output="latents",
        **SMALL,
    )
    assert apart(mine, made.squeeze(2)) < 1e-5


def test_loras_of_the_modular_pipeline_are_those_of_the_usual_one(
    folder: Path, pipe: Pipeline, peer: Any, tmp_path: Path
) -> None:
    """Whose index need not say the classes beside, and names layers that are three too."""
    lora = write_lora(type(peer), folder, tmp_path / "lora", {"transformer": ATTENTION}, 1)
    modular = shutil.copytree(folder, tmp_path / "modular")
    index = json.loads((modular / "model_index.json").read_text())
    (modular / "model_index.json").unlink()
    index["_class_name"] = "Krea2ModularPipeline"
    for part in ("text_encoder", "tokenizer", "transformer", "vae"):
        spec = {"pretrained_model_name_or_path": "elsewhere", "type_hint": index[part]}
        index[part] = [None, None, spec]
    (modular / "modular_model_index.json").write_text(json.dumps(index))
    other = Pipeline.from_pretrained(modular, loras=[str(lora)])
    mine = latents(other, "a red star")
    assert mine.equal(latents(pipe.replace(loras=[str(lora)]), "a red star"))
    assert apart(mine, latents(pipe, "a red star")) > 1e-3
    theirs = type(peer).from_pretrained(folder)
    theirs.load_lora_weights(str(lora.parent), weight_name=lora.name)
    again = pipe.replace(loras=[str(lora)])
    assert distance_to_peer(again, Unpacked(theirs), **SMALL) < 1e-5


NAMES = (
    (r"^img_in\.", "first."),
    (r"^time_embed\.linear_1\.", "tmlp.0."),
    (r"^time_embed\.linear_2\.", "tmlp.2."),
    (r"^time_mod_proj\.", "tproj.1."),
    (r"^txt_in\.norm\.weight", "txtmlp.0.scale"),
    (r"^txt_in\.linear_1\.", "txtmlp.1."),
    (r"^txt_in\.linear_2\.", "txtmlp.3."),
    (r"^text_fusion\.", "txtfusion."),
    (r"^transformer_blocks\.", "blocks."),
    (r"^final_layer\.linear\.", "last.linear."),
    (r"^final_layer\.norm\.weight", "last.norm.scale"),
    (r"^final_layer\.scale_shift_table", "last.modulation.lin"),
    (r"\.to_([qkv])\.", r".w\1."),
    (r"\.to_out\.0\.", ".wo."),
    (r"\.to_gate\.", ".gate."),
    (r"\.norm_([qk])\.weight", r".qknorm.\1norm.scale"),
    (r"\.ff\.", ".mlp."),
    (r"\.norm1\.weight", ".prenorm.scale"),
    (r"\.norm2\.weight", ".postnorm.scale"),
    (r"\.scale_shift_table", ".mod.lin"),
)
"""From Diffusers' names of the weights to Krea's own."""


def test_a_single_file_is_read_with_the_configs_of_its_folder(
    folder: Path, pipe: Pipeline, tmp_path: Path
) -> None:
    """Krea's own names; Turbo's file looks the same, so that no folder goes with it by itself."""
    weights = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    own = {}
    for name, tensor in weights.items():
        flat = tensor.flatten() if name.startswith("transformer_blocks.") else tensor
        renamed = reduce(lambda n, pair: re.sub(*pair, n), NAMES, name)
        own[f"model.diffusion_model.{renamed}"] = flat if name.endswith("table") else tensor
    save_file(own, tmp_path / "krea.safetensors")
    file = str(tmp_path / "krea.safetensors")
    read = Pipeline.from_pretrained(file, model_config=str(folder))
    assert apart(latents(read, "a red star"), latents(pipe, "a red star")) < 1e-6
    with pytest.raises(LdmError, match="--model-config FOLDER"):
        compose({"model": file}, installed())


def test_an_image_depends_on_its_own_prompt_and_seed(pipe: Pipeline) -> None:
    prompts = [*UNEQUAL, "a star", "a red star"]
    together = latents(pipe, prompts, seed=[5, 5, 6, 7])
    for one, prompt, seed in zip(together, prompts, (5, 5, 6, 7), strict=True):
        assert apart(latents(pipe, prompt, seed=seed)[0], one) < 1e-5


def test_it_starts_from_a_picture_and_keeps_what_a_mask_keeps(pipe: Pipeline) -> None:
    """Diffusers has no class for it, so the ends are asked: no strength is the picture, and what
    is kept is kept exactly."""
    random = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    picture, cover = Image.fromarray(random), Image.new("L", (24, 16))
    cover.paste(255, (0, 0, 12, 16))
    still = pipe.encode([picture], seed=1)
    ours = pipe.replace(conditioning=["text", "image"])
    assert latents(ours, "a star", image=picture, strength=0).equal(still)
    ours = pipe.replace(conditioning=["text", "mask"])
    painted = latents(ours, "a star", image=picture, mask=cover)
    assert painted[..., 6:].equal(still[..., 6:])
    assert apart(painted[..., :6], still[..., :6]) > 0.1


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("transformer/config.json", {"in_channels": 64}, "takes 64 channels a token"),
        ("transformer/config.json", {"text_hidden_dim": 64}, "text states of width 64"),
        ("transformer/config.json", {"num_text_layers": 12}, "reads 12 of the text encoder's"),
        ("transformer/config.json", {"axes_dims_rope": [4, 4, 4]}, "three even numbers"),
        ("model_index.json", {"text_encoder_select_layers": [1, 2, 9]}, "from 0 to 3"),
        ("model_index.json", {"patch_size": 4}, "4x4 latent pixels"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_components_that_do_not_fit_are_refused(
    folder: Path, tmp_path: Path, file: str, changes: dict[str, Any], message: str
) -> None:
    mine = shutil.copytree(folder, tmp_path / "mine")
    edit(mine / file, **changes)
    with pytest.raises(LdmError, match=message):
        compose({"model": str(mine)}, installed())
