"""The Z-Image family: Diffusers' own pictures from the same folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import ZImageImg2ImgPipeline, ZImageInpaintPipeline, ZImagePipeline
from PIL import Image
from safetensors.torch import load_file, save_file

import tiny
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.plugins.registry import installed
from peers import apart, distance_to_peer
from tiny.lora import write_lora

SMALL = {"width": 24, "height": 16}
LONG = "a large blue circle at the small square on the yellow background"
PROMPTS = ["a red star", LONG, "star", "a green square on the small star"]


class Peer:
    """A pipeline of Diffusers, which writes its template into the caller's own list of prompts."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline
        self.set_progress_bar_config = pipeline.set_progress_bar_config

    def __call__(self, *, prompt: list[str], **call: Any) -> Any:
        if "negative_prompt" in call:
            call["negative_prompt"] = list(call["negative_prompt"])
        return self.pipeline(prompt=list(prompt), **call)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_z_image(tmp_path_factory.mktemp("z_image"))


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Pipeline:
    return Pipeline.from_pretrained(folder)


@pytest.fixture(scope="module")
def theirs(folder: Path) -> Any:
    return ZImagePipeline.from_pretrained(folder)


def latents(pipe: Pipeline, prompts: list[str], **call: Any) -> torch.Tensor:
    call = {"num_inference_steps": 2, "seed": 1, "output_type": "latent", **SMALL, **call}
    found: torch.Tensor = pipe(prompts, **call).images
    return found


@pytest.mark.parametrize(
    ("call", "scale"),
    [
        ({}, 5.0),
        ({"prompt": ["A Star", LONG], "negative_prompt": ["green", ""]}, 2.0),
        ({"num_inference_steps": 1}, 0.0),
    ],
    ids=["plain", "captions of differing length", "no guidance"],
)
def test_nothing_chosen_gives_what_diffusers_gives(
    pipe: Pipeline, theirs: Any, call: dict[str, Any], scale: float
) -> None:
    assert pipe.recipe["num_inference_steps"] == 50
    guidance = {"name": "classifier_free", "scale": 5.0, "from_positive": True}
    assert pipe.recipe["guidance"] == guidance
    assert pipe.model.info.default_extent == {"width": 256, "height": 256}
    scales = {} if scale == 5.0 else {"guidance_scale": scale}
    assert distance_to_peer(pipe, Peer(theirs), **{**SMALL, **call, **scales}) < 1e-5


@pytest.mark.parametrize(
    "scheduler",
    [{"shift": 6.0}, {"use_dynamic_shifting": True, "max_shift": 3.0, "max_image_seq_len": 1000}],
    ids=lambda value: "-".join(value),
)
def test_the_folders_shift_is_used(tmp_path: Path, scheduler: dict[str, Any]) -> None:
    folder = tiny.write_z_image(tmp_path, scheduler=scheduler)
    pipe = Pipeline.from_pretrained(folder)
    peer = Peer(ZImagePipeline.from_pretrained(folder))
    assert distance_to_peer(pipe, peer, width=64, height=32) < 1e-5


@pytest.mark.parametrize("clamp", [0.4, 1.0], ids=["below", "at most as long"])
def test_guidance_can_be_bounded_as_in_diffusers(pipe: Pipeline, theirs: Any, clamp: float) -> None:
    """Over the whole of a picture; and it ends where little noise is left. A flow time of 3/4 is a
    noise ratio of 3; the points lie at 1, 12/13, 9/11, 2/3 and 3/7."""
    guidance = {"name": "renormed", "over": "image", "clamp": clamp, "scale": 5.0}
    found = pipe.replace(guidance={**guidance, "from_positive": True, "low": 3.0})
    their = {"cfg_normalization": clamp, "cfg_truncation": 0.25}
    assert distance_to_peer(found, Peer(theirs), their=their, **SMALL) < 1e-5


def picture(size: tuple[int, int] = (24, 16)) -> Image.Image:
    pixels = torch.rand(size[1], size[0], 3, generator=torch.Generator().manual_seed(0)) * 255
    return Image.fromarray(pixels.to(torch.uint8).numpy())


def test_a_picture_to_start_from_gives_what_diffusers_gives(pipe: Pipeline, theirs: Any) -> None:
    peer = Peer(ZImageImg2ImgPipeline(**theirs.components))
    ours = pipe.replace(conditioning=["text", "image"])
    call = {"image": [picture()] * 2, "strength": 0.6}
    assert distance_to_peer(ours, peer, **{**SMALL, **call}) < 1e-5


def test_inpainting_gives_what_diffusers_gives(pipe: Pipeline, theirs: Any) -> None:
    peer = Peer(ZImageInpaintPipeline(**theirs.components))
    mask = Image.new("L", (24, 16))
    mask.paste(255, (8, 4, 20, 12))
    ours = pipe.replace(conditioning=["text", "mask"])
    call = {"image": [picture()] * 2, "strength": 0.6}
    distance = distance_to_peer(
        ours, peer, {"mask": [mask] * 2}, {"mask_image": [mask] * 2}, **{**SMALL, **call}
    )
    assert distance < 1e-5


def test_an_image_depends_on_its_own_prompt_and_seed(pipe: Pipeline) -> None:
    """Though captions of differing length lie in one call of the network."""
    seeds = [5, 6, 5, 8]
    four = latents(pipe, PROMPTS, seed=seeds)
    assert apart(four[0], four[2]) > 0.01
    for one, prompt, seed in zip(four, PROMPTS, seeds, strict=True):
        assert apart(latents(pipe, [prompt], seed=seed)[0], one) < 1e-5


@pytest.mark.parametrize("scheduler", ["dpmpp_2m", "heun", "unipc", "ddim", "lcm"])
def test_ordinary_schedulers_run(pipe: Pipeline, scheduler: str) -> None:
    found = latents(pipe.replace(scheduler=scheduler), ["a red star"], num_inference_steps=4)
    assert found.isfinite().all()
    assert 0.1 < found.std() < 10


def test_another_attention_serves_the_network(pipe: Pipeline) -> None:
    """Also where captions of differing length need a mask."""
    chunks = {"name": "chunked", "query_chunk": 7, "key_chunk": 50}
    other = latents(pipe.replace(attention=chunks), PROMPTS[:2])
    plain = latents(pipe, PROMPTS[:2])
    assert not other.equal(plain)  # it was asked
    assert apart(other, plain) < 1e-5


def test_words_have_weights(pipe: Pipeline) -> None:
    plain = latents(pipe, ["a red star"])
    assert latents(pipe, ["a (red:1.0) star"]).equal(plain)
    assert apart(latents(pipe, ["a (red:2.0) star"]), plain) > 1e-3
    text = pipe.model.abilities["text"]
    spans = text.tokens("a red star")["text"]
    words = ["a red star"[slice(*span)].strip() for span in spans if span != (0, 0)]
    assert [word for word in words if word] == ["a", "red", "star"]
    assert len(spans) == 512


def test_what_the_window_cuts_off_is_said(pipe: Pipeline) -> None:
    """What the template has before the prompt takes its share; what it has behind is cut first."""
    prompt = " ".join(["star"] * 600)
    with pytest.warns(LdmWarning, match="star' is left out"):
        latents(pipe, [prompt], num_inference_steps=1)
    text = pipe.model.abilities["text"]
    kept = prompt[: -len(text.overflow(prompt))]
    assert text.overflow(kept.strip()) == ""
    tokenizer = pipe.model.parts["tokenizer"].module
    tokenizer = pipe.model.parts["tokenizer"].module
    assert len(tokenizer(f"<|im_start|>user\n{kept.strip()}").input_ids) == 512


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("transformer/config.json", {"in_channels": 16}, "takes 16 channels and the autoencoder"),
        ("transformer/config.json", {"cap_feat_dim": 64}, "width 64, and Qwen3 gives 32"),
        ("transformer/config.json", {"all_patch_size": [4]}, "patches of"),
        ("transformer/config.json", {"axes_dims": [4, 4, 4]}, "make 16, the width of"),
        ("transformer/config.json", {"axes_lens": [513, 64, 64]}, "513 places of a caption"),
        (
            "model_index.json",
            {"text_encoder": ["transformers", "Qwen2Model"]},
            "text_encoder should be a Qwen3Model",
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
    folder = tiny.write_z_image(tmp_path)
    edit(folder / file, **changes)
    with pytest.raises(LdmError, match=message):
        compose({"model": str(folder)}, installed())


def test_a_tokenizer_without_a_template_is_refused(tmp_path: Path) -> None:
    folder = tiny.write_z_image(tmp_path)
    (folder / "tokenizer" / "chat_template.jinja").unlink()
    with pytest.raises(LdmError, match="has no template of a talk"):
        compose({"model": str(folder)}, installed())


def in_one_file(folder: Path, file: Path, prefix: str) -> Path:
    """The network's weights by the names of its authors, queries, keys and values in one."""
    weights = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    own = {}
    for name, tensor in weights.items():
        if ".to_k." in name or ".to_v." in name:
            continue
        if ".to_q." in name:
            parts = [weights[name.replace("to_q", part)] for part in ("to_q", "to_k", "to_v")]
            name, tensor = name.replace("to_q", "qkv"), torch.cat(parts)
        for theirs, diffusers in (
            ("x_embedder.", "all_x_embedder.2-1."),
            ("final_layer.", "all_final_layer.2-1."),
            (".attention.out.", ".attention.to_out.0."),
            (".q_norm.", ".norm_q."),
            (".k_norm.", ".norm_k."),
        ):
            name = name.replace(diffusers, theirs)
        own[prefix + name] = tensor.contiguous()
    save_file(own, file)
    return file


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."], ids=["alone", "prefixed"])
def test_a_network_in_one_file_draws_what_its_folder_draws(
    folder: Path, pipe: Pipeline, tmp_path: Path, prefix: str
) -> None:
    file = in_one_file(folder, tmp_path / "z_image.safetensors", prefix)
    found = Pipeline.from_pretrained(file, model_config=str(folder))
    assert latents(found, ["a red star"]).equal(latents(pipe, ["a red star"]))
    other = tiny.write_z_image(tmp_path / "other", n_layers=2)
    with pytest.raises(LdmError, match="its network has n_layers = 1"):
        compose({"model": str(file), "model_config": str(other)}, installed())


def test_a_lora_gives_what_diffusers_gives(folder: Path, tmp_path: Path) -> None:
    targets = {"transformer": ["to_q", "to_v"]}
    file = write_lora(ZImagePipeline, folder, tmp_path, targets, seed=1)
    theirs = ZImagePipeline.from_pretrained(folder)
    theirs.load_lora_weights(tmp_path)
    theirs.set_adapters(theirs.get_active_adapters(), 0.7)
    pipe = Pipeline.from_pretrained(folder, loras=[{"path": str(file), "scale": 0.7}])
    call = {"num_inference_steps": 2, **SMALL}
    assert distance_to_peer(pipe, Peer(theirs), **call) < 1e-5
    plain = Pipeline.from_pretrained(folder)
    assert apart(latents(pipe, ["a star"]), latents(plain, ["a star"])) > 0.001
