"""The Qwen-Image family: Diffusers' own pictures from the same folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmWarning
from ldm_core.plugins.registry import installed
from ldm_plugins.families.shared.qwen_text import QWEN_IMAGE
from peers import apart, distance_to_peer
from unpacked import Unpacked

SMALL: dict[str, Any] = {"width": 24, "height": 16, "num_inference_steps": 3}
UNEQUAL = ["a red star", "a blue circle on the large green background"]
NEGATIVE = {"negative_prompt": ["a square", " "]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_qwen_image(tmp_path_factory.mktemp("qwen"))


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Pipeline:
    return Pipeline.from_pretrained(folder)


@pytest.fixture(scope="module")
def peer(folder: Path) -> diffusers.QwenImagePipeline:
    return diffusers.QwenImagePipeline.from_pretrained(folder)


def latents(pipe: Pipeline, prompt: Any, **call: Any) -> torch.Tensor:
    made: torch.Tensor = pipe(prompt, output_type="latent", **{**SMALL, "seed": 1, **call}).images
    return made


@pytest.mark.parametrize(
    "call",
    [NEGATIVE, {**NEGATIVE, "prompt": UNEQUAL}, {**NEGATIVE, "width": 96, "height": 64}],
    ids=["plain", "captions of differing length", "another shift"],
)
def test_nothing_chosen_gives_what_diffusers_gives(
    pipe: Pipeline, peer: Any, call: dict[str, Any]
) -> None:
    assert pipe.recipe["num_inference_steps"] == 50
    assert pipe.recipe["guidance"] == {"name": "renormed", "scale": 4.0}
    assert pipe.model.info.default_extent == {"width": 256, "height": 256}
    assert distance_to_peer(pipe, Unpacked(peer), **{**SMALL, **call}) < 1e-5


def test_without_guidance_it_gives_what_diffusers_gives(pipe: Pipeline, peer: Any) -> None:
    call = {**SMALL, "prompt": UNEQUAL}
    assert distance_to_peer(pipe.replace(guidance="none"), Unpacked(peer), **call) < 1e-5


def test_a_scale_is_that_of_diffusers(pipe: Pipeline, peer: Any) -> None:
    call = {**SMALL, **NEGATIVE, "own": {"guidance_scale": 7.0}, "their": {"true_cfg_scale": 7.0}}
    assert distance_to_peer(pipe, Unpacked(peer), **call) < 1e-5


def pictures() -> list[Image.Image]:
    random = np.random.default_rng(0).integers(0, 256, (2, 16, 24, 3), dtype=np.uint8)
    return [Image.fromarray(picture) for picture in random]


@pytest.mark.parametrize("strength", [0.4, 1.0])
def test_it_starts_from_a_picture_as_in_diffusers(
    pipe: Pipeline, peer: Any, strength: float
) -> None:
    theirs = diffusers.QwenImageImg2ImgPipeline(**peer.components)
    ours = pipe.replace(conditioning=["text", "image"])
    call = {**SMALL, **NEGATIVE, "image": pictures(), "strength": strength}
    assert distance_to_peer(ours, Unpacked(theirs), **call) < 1e-5


def test_it_repaints_a_part_as_in_diffusers(pipe: Pipeline, peer: Any) -> None:
    theirs = diffusers.QwenImageInpaintPipeline(**peer.components)
    ours = pipe.replace(conditioning=["text", "mask"])
    cover = Image.new("L", (24, 16))
    cover.paste(255, (8, 4, 20, 12))
    both = {**SMALL, **NEGATIVE, "image": pictures(), "strength": 0.7}
    own, their = {"mask": [cover] * 2}, {"mask_image": [cover] * 2}
    assert distance_to_peer(ours, Unpacked(theirs), own, their, **both) < 1e-5


def test_an_image_depends_on_its_own_prompt_and_seed(pipe: Pipeline) -> None:
    prompts = [*UNEQUAL, "a star", "a red star"]
    together = latents(pipe, prompts, seed=[5, 5, 6, 7])
    for one, prompt, seed in zip(together, prompts, (5, 5, 6, 7), strict=True):
        assert apart(latents(pipe, prompt, seed=seed)[0], one) < 1e-5


def test_the_template_has_as_many_tokens_as_are_dropped(pipe: Pipeline) -> None:
    """With the real vocabulary too, where it was counted."""
    tokenizer = pipe.model.parts["tokenizer"].module
    assert len(tokenizer(QWEN_IMAGE.before).input_ids) == QWEN_IMAGE.dropped == 34


def test_what_a_window_does_not_hold_is_said(pipe: Pipeline) -> None:
    text = pipe.model.abilities["text"]
    assert text.overflow("a star" + " a star" * 511) == ""
    with pytest.warns(LdmWarning, match="' blue circle' is left out"):
        latents(pipe, "star " * 1022 + "a star blue circle", num_inference_steps=1)


def test_another_autoencoders_decoder_is_refused(folder: Path) -> None:
    with pytest.raises(LdmError, match="has an autoencoder"):
        Pipeline.from_pretrained(folder, decoder="pixels")
    vq = tiny.write_latent_diffusion(folder.parent / "vq")
    with pytest.raises(LdmError, match="not for an autoencoder of the class VQModel"):
        Pipeline.from_pretrained(vq, decoder="autoencoder_kl_frame")


def test_it_decodes_in_tiles_as_in_diffusers(pipe: Pipeline, peer: Any) -> None:
    call = {**SMALL, **NEGATIVE, "output_type": "np", "prompt": UNEQUAL}
    tiled = pipe.replace(converters=[{"name": "vae_tiling", "size": 8}])
    sides = {f"tile_sample_min_{side}": 8 for side in ("height", "width")}
    steps = {f"tile_sample_stride_{side}": 6 for side in ("height", "width")}
    peer.vae.enable_tiling(**sides, **steps)
    try:
        generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
        expected = peer(generator=generators, **call).images
    finally:
        peer.vae.disable_tiling()
    made = tiled(seed=3, **call).images
    assert apart(made, expected) < 1e-5
    assert apart(made, pipe(seed=3, **call).images) > 1e-3


def test_a_single_file_is_read_with_the_configs_of_its_folder(
    folder: Path, pipe: Pipeline, tmp_path: Path
) -> None:
    """An edit's file looks the same, so that no folder goes with it by itself."""
    file = str(tmp_path / "qwen.safetensors")
    shutil.copy(folder / "transformer" / "diffusion_pytorch_model.safetensors", file)
    read = Pipeline.from_pretrained(file, model_config=str(folder))
    assert apart(latents(read, "a red star"), latents(pipe, "a red star")) < 1e-6
    with pytest.raises(LdmError, match="--model-config FOLDER"):
        compose({"model": file}, installed())


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("transformer/config.json", {"in_channels": 64}, "takes 64 channels a token"),
        ("transformer/config.json", {"out_channels": 16}, "returns 64, and 2x2 pixels"),
        ("vae/config.json", {"z_dim": 16}, "autoencoder's 16 channels make 64"),
        ("transformer/config.json", {"joint_attention_dim": 64}, "states of width 64"),
        ("transformer/config.json", {"axes_dims_rope": [4, 4, 4]}, "three even numbers"),
        ("transformer/config.json", {"guidance_embeds": True}, "guidance_embeds.*not known"),
        ("transformer/config.json", {"use_layer3d_rope": True}, "pictures in layers"),
        (
            "model_index.json",
            {"text_encoder": ["transformers", "T5EncoderModel"]},
            "text_encoder should be a Qwen2_5_VLForConditionalGeneration",
        ),
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


@pytest.mark.parametrize("name", ["latents_mean", "latents_std"])
def test_statistics_of_fewer_channels_are_refused(name: str, tmp_path: Path) -> None:
    folder = tiny.write_qwen_image(tmp_path / "model")
    file = folder / "vae" / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({**config, name: config[name][:-1]}))
    with pytest.raises(LdmError, match=rf"{name} has 3 numbers, and its latents have 4 channels"):
        Pipeline.from_pretrained(folder)
