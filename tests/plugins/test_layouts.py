"""Weights in another layout, and joined: what is drawn stays the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.plugins.registry import installed
from peers import apart
from tiny.covering import one_of_each
from tiny.lora import write_lora

CALL: dict[str, Any] = {"seed": [1, 2], "num_inference_steps": 2, "output_type": "latent"}
FUSED = ("Stable Diffusion", "SDXL", "PixArt alpha", "SD 3", "Flux dev")


@pytest.mark.parametrize("name", one_of_each())
def test_every_family_draws_the_same_with_channels_last(name: str, tmp_path: Path) -> None:
    kind = tiny.FOLDERS[name]
    pipe = Pipeline.from_pretrained(kind.write(tmp_path / "model"))
    call = {**kind.inputs_in(tmp_path / "model"), **CALL}
    plain = pipe(**call).images
    other = pipe.replace(converters=["channels_last"])
    assert apart(other(**call).images, plain) < 1e-5
    decoded = pipe.decode(plain)
    assert apart(other.decode(plain), decoded) < 1e-5
    laid = [
        not weight.is_contiguous()
        for part in other.model.parts.values()
        if isinstance(part.module, torch.nn.Module)
        for weight in part.module.parameters()
    ]
    assert any(laid)
    back = other.replace(converters=[])
    assert back(**call).images.equal(plain)
    assert back.decode(plain).equal(decoded)


@pytest.mark.parametrize("name", FUSED)
def test_joined_products_draw_the_same(name: str, tmp_path: Path) -> None:
    kind = tiny.FOLDERS[name]
    pipe = Pipeline.from_pretrained(kind.write(tmp_path / "model"))
    call = {**kind.inputs_in(tmp_path / "model"), **CALL}
    plain = pipe(**call).images
    other = pipe.replace(converters=["fused_qkv"])
    assert apart(other(**call).images, plain) < 1e-5
    assert products(other) < products(pipe)
    assert other.replace(converters=[])(**call).images.equal(plain)
    assert products(pipe.replace(converters=[])) == products(pipe)


@pytest.mark.parametrize(
    ("name", "guidance"),
    [
        ("Stable Diffusion", {"name": "perturbed_attention"}),
        ("SD 3", {"name": "perturbed_attention", "layers": [0]}),
        ("Stable Diffusion", {"name": "smoothed_energy"}),
    ],
)
def test_guidance_that_alters_attention_alters_joined_products_too(
    name: str, guidance: Any, tmp_path: Path
) -> None:
    kind = tiny.FOLDERS[name]
    pipe = Pipeline.from_pretrained(kind.write(tmp_path / "model"), guidance=guidance)
    call = {**kind.inputs_in(tmp_path / "model"), **CALL}
    plain = pipe(**call).images
    assert apart(pipe.replace(guidance="classifier_free")(**call).images, plain) > 1e-3
    assert apart(pipe.replace(converters=["fused_qkv"])(**call).images, plain) < 1e-5


def products(pipe: Pipeline) -> int:
    """How many linear layers one call of the network asks."""
    part = pipe.model.part("network")
    assert part is not None
    calls: list[int] = []
    handles = [
        layer.register_forward_hook(lambda *_: calls.append(1))
        for layer in part.module.modules()
        if isinstance(layer, torch.nn.Linear)
    ]
    kind = next(n for n in FUSED if tiny.FOLDERS[n].inputs)  # all read text
    inputs = dict(tiny.FOLDERS[kind].inputs)
    if pipe.composition.info.family == "flux":
        inputs |= {"width": 64, "height": 64}
    pipe(**inputs, **{**CALL, "num_inference_steps": 1})
    for handle in handles:
        handle.remove()
    return len(calls)


@pytest.mark.parametrize("name", ["LDM", "DDPM", "DiT"])
def test_networks_that_diffusers_cannot_fuse_are_refused(name: str, tmp_path: Path) -> None:
    folder = tiny.FOLDERS[name].write(tmp_path / "model")
    with pytest.raises(LdmError, match="cannot fuse the projections of a"):
        Pipeline.from_pretrained(folder, converters=["fused_qkv"])


@pytest.mark.parametrize("name", ["channels_last", "fused_qkv"])
@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"converters": ["quantize"]}, "keeps them in fewer bits"),
        ({"dtype": "bfloat16"}, "the recipe keeps them in bfloat16 to compute in float32"),
    ],
)
def test_what_needs_plain_weights_is_refused_beside_others(
    folder: Path, name: str, choices: dict[str, Any], message: str
) -> None:
    converters = [name, *choices.get("converters", [])]
    with pytest.raises(LdmError) as refusal:
        compose({"model": str(folder), **choices, "converters": converters}, installed())
    assert message in str(refusal.value)


def test_a_lora_beside_fused_products_is_refused(folder: Path, tmp_path: Path) -> None:
    file = write_lora(StableDiffusionPipeline, folder, tmp_path, {"unet": ["to_q"]}, seed=1)
    layer = {"model": str(folder), "loras": [str(file)], "converters": ["fused_qkv"]}
    with pytest.raises(LdmError, match="which would then do nothing"):
        compose(layer, installed())


def test_a_lora_beside_channels_last_draws_the_same(
    pipe: Pipeline, folder: Path, tmp_path: Path
) -> None:
    file = write_lora(StableDiffusionPipeline, folder, tmp_path, {"unet": ["to_q"]}, seed=1)
    plain = pipe.replace(loras=[file])
    other = plain.replace(converters=["channels_last"])
    call = {"prompt": "a star", **CALL}
    assert apart(other(**call).images, plain(**call).images) < 1e-5
