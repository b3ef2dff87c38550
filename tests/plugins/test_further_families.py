"""What every family can do, on the further ones: LoRA, weights in fewer bits, tiles and tiny
decoders of their autoencoders."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import recompose
from ldm_core.errors import LdmWarning
from peers import apart
from tiny.covering import some_of

CALL: dict[str, Any] = {"seed": [1, 2], "num_inference_steps": 2, "output_type": "latent"}
KINDS = tiny.MORE_FOLDERS


@pytest.fixture(autouse=True)
def quietly() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


WITHOUT_LORA = {"Stable Video Diffusion", "AudioLDM 2", "Stable Audio", "Stable Audio 3"} | {
    "SD latent upscaler",
    "Stable Cascade",
    "unCLIP",
    "unCLIP of a picture",
}
"""Whose pipelines in Diffusers load none."""
PROJECTIONS = ("to_q", "to_k", "to_v", "q", "qkv")


@pytest.mark.parametrize("kind", some_of(KINDS, 3, 12))
def test_a_lora_draws_what_weights_changed_by_hand_draw(kind: str, tmp_path: Path) -> None:
    """On the first layer of attention; where there are two networks, on the first of them, which is
    said."""
    folder = KINDS[kind].write(tmp_path / "model")
    call = {**CALL, **KINDS[kind].inputs_in(tmp_path)}
    pipe = Pipeline.from_pretrained(folder)
    networks = {n: part.module for n, part in pipe.model.parts.items() if part.role == "network"}
    part, network = next(iter(networks.items()))
    layers = [n for n, layer in network.named_modules() if isinstance(layer, nn.Linear)]
    name = next(n for n in layers if n.rpartition(".")[2] in PROJECTIONS)
    weight = network.get_submodule(name).weight
    down, up = 8 * random(2, weight.shape[1], seed=1), random(weight.shape[0], 2, seed=2)
    lora = tmp_path / "lora.safetensors"
    save_file({f"{part}.{name}.lora_A.weight": down, f"{part}.{name}.lora_B.weight": up}, lora)
    if kind in WITHOUT_LORA:
        with pytest.raises(LdmError, match=r"takes no LoRA: Diffusers' .* has no loader"):
            Pipeline.from_pretrained(folder, loras=[str(lora)])
        return
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    (file,) = (other / part).glob("*.safetensors")
    weights = load_file(file)
    weights[f"{name}.weight"] += 0.5 * up @ down
    save_file(weights, file, {"format": "pt"})
    plain = pipe(**call).images
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", LdmWarning)
        changed = pipe.replace(loras=[f"{lora}:0.5"])(**call).images
    alone = [str(one.message) for one in said if "changes one network" in str(one.message)]
    assert len(alone) == len(networks) - 1
    wrong = apart(changed, Pipeline.from_pretrained(other)(**call).images)
    assert wrong < 1e-5
    assert apart(changed, plain) > max(10 * wrong, 1e-6)
    assert pipe(**call).images.equal(plain)


def packed(module: nn.Module) -> list[bool]:
    """Of each layer that could be, whether its weight is kept in fewer bits."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    return [type(layer.weight) not in (Tensor, nn.Parameter) for layer in layers]


@pytest.mark.parametrize("kind", some_of(KINDS, 6, 12))
def test_weights_in_fewer_bits_draw_nearly_the_same(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("torchao")
    folder = KINDS[kind].write(tmp_path / "model")
    call = {**CALL, **KINDS[kind].inputs_in(tmp_path)}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", LdmWarning)
        quantised = Pipeline.from_pretrained(folder, converters=[{"name": "quantize"}])
    left = [str(one.message) for one in said if "left all" in str(one.message)]
    assert len(left) == (2 if kind == "AudioLDM 2" else 0), left  # of GPT-2 too
    for part in quantised.model.parts.values():
        if type(part.module).__name__ in ("ClapModel", "GPT2LMHeadModel"):
            assert not any(packed(part.module))
        elif part.role in ("network", "text") and packed(part.module):
            # Diffusers keeps Wan's embedding of time as it is, Transformers what makes patches
            assert sum(packed(part.module)) > 0.85 * len(packed(part.module)), part.role
        elif part.role == "autoencoder":
            assert not any(packed(part.module))
    distance = apart(quantised(**call).images, Pipeline.from_pretrained(folder)(**call).images)
    # the first steps of unCLIP divide by an alpha of 5e-5
    assert 0 < distance < (0.3 if kind.startswith("unCLIP") else 0.1)


TINY: dict[str, Any] = {
    "encoder_block_out_channels": (8, 8),
    "decoder_block_out_channels": (8, 8),
    "num_encoder_blocks": (1, 1),
    "num_decoder_blocks": (1, 1),
}
TAKES_TINY = {"Chroma", "Flux Kontext", "Flux Fill", "Flux Control", "Z-Image", "AuraFlow"} | {
    "CogView 4",
    "HiDream",
    "SD latent upscaler",
    "Kolors",
    "Stable unCLIP",
}
"""Those whose autoencoder halves the sides of a picture, and is of the plain class."""
SOUNDS = {"ACE-Step", "AudioLDM 2", "Stable Audio", "Stable Audio 3"}
UNCUT = {"Qwen-Image-Edit", "Qwen-Image-Edit Plus", "Lumina 2", "LTX-2", "HunyuanVideo"} | {
    "Wan 2.2 5B",
}
"""Those whose tiny pictures are one tile, of the smallest size that there is."""


@pytest.mark.parametrize("kind", some_of(KINDS, 9, 12))
def test_tiles_and_tiny_decoders_decode_or_are_refused_at_once(kind: str, tmp_path: Path) -> None:
    pipe = Pipeline.from_pretrained(KINDS[kind].write(tmp_path / "model"), num_inference_steps=1)
    latents = pipe(**CALL | KINDS[kind].inputs_in(tmp_path) | {"num_inference_steps": 1})
    expected = pipe.decode(latents)
    torch.manual_seed(1)
    AutoencoderTiny(**TINY, latent_channels=4).save_pretrained(tmp_path / "tiny")
    small = {"name": "tiny_decoder", "path": str(tmp_path / "tiny")}
    if kind in TAKES_TINY:
        decoded = pipe.replace(converters=[small]).decode(latents)
        assert decoded.shape == expected.shape
        assert not decoded.equal(expected)
    else:
        with pytest.raises(LdmError, match=r"does not fit the (model|latents of) '.*' \(family"):
            recompose(pipe.composition, {"converters": [small]})
    whole = ("Stable Video Diffusion", "Stable Cascade", "unCLIP", "unCLIP of a picture")
    if kind in SOUNDS or kind in whole:
        with pytest.raises(LdmError, match=r"'vae_tiling' does not fit .*(neither|whole|pixels)"):
            recompose(pipe.composition, {"converters": ["vae_tiling"]})
        return
    size = 4 * pipe.composition.info.latents.axis("height").stride
    tiled = pipe.replace(converters=[{"name": "vae_tiling", "size": size}]).decode(latents)
    assert tiled.shape == expected.shape
    assert tiled.equal(expected) == (kind in UNCUT)
    assert pipe.decode(latents).equal(expected)
