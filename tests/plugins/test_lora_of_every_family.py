"""LoRA on every family whose class in Diffusers reads some: what Diffusers' loader puts on the same
networks, layer by layer."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmWarning
from ldm_plugins.converters.lora import find_loader
from tiny.lora import ATTENTION, write_lora

KINDS = {**tiny.FOLDERS, **tiny.MORE_FOLDERS}
NAMES = ("to_q", "to_k", "to_v", "qkv")
NETWORKS = ("unet", "transformer")
ONE_OF_EACH = (
    *("Stable Diffusion", "SDXL", "SD 3", "Flux dev", "FLUX.2 dev", "Qwen-Image", "Krea 2"),
    *("Wan 2.1", "CogVideoX", "HunyuanVideo", "LTX-Video", "LTX-2", "AnimateDiff", "Z-Image"),
    *("Lumina 2", "Sana", "AuraFlow", "CogView 4", "ACE-Step", "HiDream", "Chroma"),
)
READ_NONE = {
    *("LDM", "LDM text", "DiT", "PixArt alpha", "PixArt sigma", "DDPM", "AudioLDM 2"),
    *("Stable Video Diffusion", "Stable Audio", "Stable Audio 3", "SD latent upscaler"),
    "Stable Cascade",
    "unCLIP",
    "unCLIP of a picture",
}


def loader_of(folder: Path) -> Any:
    return find_loader(compose({"model": str(folder)}).info)


def deltas(module: Any, name: str) -> dict[str, torch.Tensor]:
    """What an adapter adds to the weights of each layer that it changes."""
    layers = ((inner, layer) for inner, layer in module.named_modules() if hasattr(layer, "lora_A"))
    return {inner: layer.get_delta_weight(name) for inner, layer in layers if name in layer.lora_A}


@pytest.mark.parametrize("kind", ONE_OF_EACH)
def test_its_layers_are_those_of_diffusers(tmp_path: Path, kind: str) -> None:
    folder = KINDS[kind].write(tmp_path / "model")
    loader, pipe = loader_of(folder), Pipeline.from_pretrained(folder)
    (name,) = (name for name in NETWORKS if name in pipe.model.parts)
    cls = type(pipe.model.parts[name].module)
    trained, peer = (cls.from_pretrained(folder / name) for _ in range(2))
    linear = [n for n, m in trained.named_modules() if isinstance(m, torch.nn.Linear)]
    targets = [inner for inner in linear if any(word in inner for word in NAMES)]
    torch.manual_seed(5)
    trained.add_adapter(
        LoraConfig(r=2, lora_alpha=3, init_lora_weights=False, target_modules=targets)
    )
    layers = {f"{name}_lora_layers": get_peft_model_state_dict(trained)}
    loader.save_lora_weights(tmp_path, **layers)
    file = tmp_path / "pytorch_lora_weights.safetensors"

    class Loads(loader):  # type: ignore[misc]
        hf_device_map = None

    theirs = Loads()
    theirs.components = {name: peer}
    for other in loader._lora_loadable_modules:
        setattr(theirs, other, theirs.components.get(other))
    theirs.load_lora_weights(str(file), adapter_name="theirs")
    theirs.set_adapters(["theirs"], [0.6])
    changed = pipe.replace(loras=[f"{file}:0.6"]).model.parts[name].module
    found, expected = deltas(changed, "lora_0"), deltas(peer, "theirs")
    assert found.keys() == expected.keys()
    assert len(found) == len(targets)
    for inner, delta in expected.items():
        assert torch.allclose(found[inner], delta, rtol=1e-5, atol=1e-7), inner
    assert not deltas(pipe.model.parts[name].module, "lora_0")


def test_every_loader_of_diffusers_is_here(tmp_path: Path) -> None:
    seen = {}
    for kind, written in KINDS.items():
        folder = written.write(tmp_path / kind)
        if kind not in READ_NONE:
            seen[kind] = loader_of(folder)
            continue
        with pytest.raises(LdmError, match="takes no LoRA"):
            loader_of(folder)
    assert {*seen.values()} == {seen[kind] for kind in ONE_OF_EACH}


def test_a_file_for_the_second_network(tmp_path: Path) -> None:
    """As Diffusers' ``load_into_transformer_2``."""
    one, two = (KINDS[kind].write(tmp_path / kind) for kind in ("Wan 2.1", "Wan 2.2"))
    file = write_lora(diffusers.WanPipeline, one, tmp_path, {"transformer": ATTENTION}, seed=1)
    peer = diffusers.WanPipeline.from_pretrained(two)
    peer.load_lora_weights(str(file), adapter_name="first")
    peer.load_lora_weights(str(file), adapter_name="second", load_into_transformer_2=True)
    peer.transformer_2.set_adapters(["second"], [0.3])
    entry = {"path": str(file), "scale": 0.3, "component": "transformer_2"}
    with warnings.catch_warnings():
        warnings.simplefilter("error", LdmWarning)  # each network has one
        both = Pipeline.from_pretrained(two, loras=[str(file), entry])
    parts = both.model.parts
    for name, ours, theirs in (
        ("transformer", "lora_0", "first"),
        ("transformer_2", "lora_1", "second"),
    ):
        found = deltas(parts[name].module, ours)
        expected = deltas(peer.components[name], theirs)
        assert found.keys() == expected.keys() != set()
        assert all(torch.allclose(found[inner], delta) for inner, delta in expected.items())
    assert not deltas(parts["transformer"].module, "lora_1")
    assert both.recipe["loras"][1] == entry
    with pytest.raises(LdmError, match="named for 'vae', and the model has transformer and"):
        both.replace(loras=[{"path": str(file), "component": "vae"}])
    with pytest.raises(LdmError, match="and the model has no second network"):
        Pipeline.from_pretrained(one, loras=[entry])
    with pytest.raises(LdmError, match="the component of an entry of 'loras' is a name"):
        compose({"model": str(one), "loras": [{"path": str(file), "component": 2}]})


def test_scales_by_block_go_through_the_command_line(tmp_path: Path, ldm: Any) -> None:
    folder = tiny.write_stable_diffusion(tmp_path / "sd")
    cls = diffusers.StableDiffusionPipeline
    file = write_lora(cls, folder, tmp_path / "lora", {"unet": ATTENTION}, 1)
    recipe = tmp_path / "recipe.toml"
    scales = "{ unet = { down = 0.5, mid = 0 } }"
    recipe.write_text(
        f"model = {json.dumps(str(folder))}\nnum_inference_steps = 2\n"
        f"loras = [{{ path = {json.dumps(str(file))}, scales = {scales} }}]\n"
    )
    for command in (["recipe", "check", str(recipe)], ["explain", "--recipe", str(recipe)]):
        code, out, err = ldm(*command)
        assert (code, "'down': 0.5" in out) == (0, True), err
    made = tmp_path / "made"
    code, _, err = ldm(
        "generate", "a star", "--recipe", str(recipe), "--seed", "1", "--out", str(made)
    )
    assert code == 0, err
    (picture,) = made.glob("*.png")
    code, out, err = ldm("show", str(picture))
    assert (code, "'down': 0.5" in out) == (0, True), err
    code, out, err = ldm("show", str(picture), "--command")  # with options that are left out
    assert (code, "unet = { down = 0.5, mid = 0.0 }" in out) == (0, True), err
    code, out, err = ldm("replay", str(picture), "--allow-files", "--out", str(tmp_path / "again"))
    assert (code, "the same picture, pixel for pixel" in out + err) == (0, True)
