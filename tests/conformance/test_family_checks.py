"""The kit's checks of families: each catches what is wrong, and none what is right."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from checking import checks, outcome, outcomes, shipped, some_slow, subject
from ldm_core import LdmError
from ldm_core.conformance.grounds import on_folder
from ldm_core.contracts import (
    Family,
    LatentSpace,
    Model,
    ModelInfo,
    Part,
    PartInfo,
)
from ldm_core.contracts.abilities import TextAbility
from ldm_core.numerics.noise_schedule import FlowSchedule
from ldm_core.plugins.registry import installed

NETWORK = PartInfo("network", "Linear", "network")


class Words(TextAbility):
    """Four words at most."""

    def encode(self, texts: Any) -> Any:
        return {"text": torch.tensor([[len(text or "") / 10.0] for text in texts])}

    def overflow(self, text: str) -> str:
        return " ".join(text.split()[4:])


class Right(Family):
    """Velocities of a small network of pixels; its folder has one file beside the index."""

    def matches(self, index: Mapping[str, Any]) -> bool:
        return index.get("_class_name") == "MinePipeline"

    def inspect(self, source: str, folder: Path, index: Mapping[str, Any]) -> ModelInfo:
        try:
            config = json.loads((folder / "network" / "config.json").read_text())
            side = config["side"]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise LdmError(f"'{source}' has no network/config.json with a side: {error}") from error
        if type(side) is not int:
            raise LdmError(f"the side in network/config.json is {side!r}, no whole number.")
        return ModelInfo(
            family="mine",
            source=source,
            folder=folder,
            noise_schedule=FlowSchedule(),
            prediction_type="flow",
            latents=LatentSpace.of_picture(3),
            default_extent={"height": side, "width": side},
            abilities=frozenset({"text"}),
            needs=frozenset({"text"}),
            parts=(NETWORK,),
            defaults={
                "num_inference_steps": 4,
                "scheduler": "ldm-core:euler",
                "spacing": "ldm-core:trailing",
                "guidance": "ldm-core:none",
                "attention": "ldm-core:native",
                "encoder": "ldm-core:pixels",
                "decoder": "ldm-core:pixels",
                "conditioning": ["ldm-core:text"],
            },
        )

    def load(self, info: ModelInfo, place: Any) -> Model:
        torch.manual_seed(0)
        module = place.put(torch.nn.Linear(3, 3).to(place.dtype), NETWORK)
        return self.made(info, module, place)

    def made(self, info: ModelInfo, module: Any, place: Any) -> Model:
        part = Part(module, "network", place.device, place.compute_dtype)
        weight = module.weight.to(place.compute_dtype)

        def network(call: Any) -> Any:
            text = call.condition["text"].reshape(-1, 1, 1, 1)
            output = torch.einsum("ck,bkhw->bchw", weight, call.x.to(weight.dtype)).float()
            return self.answer(output + text, call)

        return Model(info, network, {"text": self.text()}, {"network": part}, place)

    def answer(self, output: Any, call: Any) -> Any:
        return output

    def text(self) -> Any:
        return Words()


def other(**methods: Any) -> Any:
    """The family with other methods."""
    return type("Other", (Right,), methods)


def informed(**changes: Any) -> Any:
    def inspect(self: Any, source: str, folder: Path, index: Any) -> Any:
        return replace(Right.inspect(self, source, folder, index), **changes)

    return other(inspect=inspect)


def blunt(self: Any, source: str, folder: Path, index: Any) -> Any:
    json.loads((folder / "network" / "config.json").read_text())["side"]
    return Right.inspect(self, source, folder, index)


def strange(self: Any, info: Any, place: Any) -> Any:
    model = Right.load(self, info, place)
    part = replace(model.parts["network"], role="unet")
    return replace(model, parts={"network": part})


def trainable(self: Any, info: Any, place: Any) -> Any:
    model = Right.load(self, info, place)
    model.parts["network"].module.requires_grad_(True)
    return model


def overflowing(self: Any, info: Any, place: Any) -> Any:
    model = Right.load(self, info, place)
    if place.compute_dtype is torch.float32:
        return model
    return replace(model, network=lambda call: call.x / 0)


class Silent(Words):
    def overflow(self, text: str) -> str:
        return ""


class Padded(Words):
    def encode(self, texts: Any) -> Any:
        longest = max(len(text or "") for text in texts)
        return {"text": torch.tensor([[len(text or "") / longest] for text in texts])}


WRONG: dict[str, tuple[Any, str]] = {
    "claims everything": (other(matches=lambda self, index: True), "matches_alone"),
    "claims another's": (
        other(matches=lambda self, index: index.get("_class_name") == "StableDiffusionPipeline"),
        "matches_alone",
    ),
    "fails of another's index": (
        other(matches=lambda self, index: index["network"] == ["mine", "Linear"]),
        "matches_alone",
    ),
    "neither yes nor no": (
        other(matches=lambda self, index: index.get("_class_name")),
        "matches_alone",
    ),
    "another folder": (informed(folder=Path("elsewhere")), "inspects"),
    "a need that is no ability": (informed(needs=frozenset({"class_label"})), "inspects"),
    "a default that is not there": (
        informed(defaults={"scheduler": "no_such_scheduler"}),
        "inspects",
    ),
    "fails of a damaged folder": (other(inspect=blunt), "refuses_damaged_folders"),
    "a role of its own": (other(load=strange), "parts"),
    "not frozen": (other(load=trainable), "parts"),
    "a mean of the batch": (
        other(answer=lambda self, output, call: output + call.x.mean(0, keepdim=True)),
        "batch",
    ),
    "the first row's timestep for all": (
        other(answer=lambda self, output, call: output * call.t[0] / 1000),
        "batch",
    ),
    "noise of its own": (
        other(answer=lambda self, output, call: output + 0.1 * torch.randn_like(output)),
        "same_seed",
    ),
    "not finite in half precision": (other(load=overflowing), "half_precision"),
    "says nothing of long prompts": (other(text=lambda self: Silent()), "long_prompts"),
    "padding by the batch": (other(text=lambda self: Padded()), "long_prompts"),
}
ELSEWHERE = {"inspects_without_torch", "as_diffusers"}
"""Checks that have a test of their own."""


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mine") / "model"
    (folder / "network").mkdir(parents=True)
    (folder / "network" / "config.json").write_text(json.dumps({"side": 8}))
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "MinePipeline"}))
    return folder


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_caught(name: str, mine: Path) -> None:
    target, check = WRONG[name]
    assert outcome(subject("family", target, mine), check).startswith("failed")


def test_every_check_catches_something() -> None:
    assert {check for _, check in WRONG.values()} | ELSEWHERE == checks("family").keys()


def test_what_is_right_passes_all(mine: Path) -> None:
    said = outcomes(subject("family", Right, mine))
    assert said.pop("as_diffusers") == "skipped: Diffusers has no class MinePipeline"
    assert said.pop("inspects_without_torch").startswith("skipped: is registered by a function")
    assert all(word.startswith("passed") for word in said.values()), said


def test_what_imports_torch_to_read_a_folder_is_caught(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        "from ldm_core.contracts import Family",
        "class Light(Family):",
        "    def matches(self, index): return index.get('_class_name') == 'MinePipeline'",
        "    def inspect(self, source, folder, index): return None",
        "    def load(self, info, place): return None",
        "class Heavy(Light):",
        "    def inspect(self, source, folder, index): import torch",
        "class Broken(Light):",
        "    def inspect(self, source, folder, index): raise KeyError('unet')",
    ]
    (tmp_path / "ldm_mine_families.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    said = {
        name: outcome(
            subject("family", f"ldm_mine_families:{name}", mine), "inspects_without_torch"
        )
        for name in ("Light", "Heavy", "Broken")
    }
    assert said["Light"] == "passed without torch"
    assert "inspect imports torch" in said["Heavy"]
    assert "KeyError: 'unet'" in said["Broken"]


FAMILIES = {
    "stable_diffusion": "Stable Diffusion",
    "stable_diffusion_xl": "SDXL",
    "stable_diffusion_3": "SD 3",
    "latent_diffusion": "LDM",
    "latent_diffusion_text": "LDM text",
    "dit": "DiT",
    "pixart": "PixArt alpha",
    "flux": "Flux dev",
    "ddpm": "DDPM",
}


FURTHER = {
    "ace_step": "ACE-Step",
    "animatediff": "AnimateDiff",
    "audioldm_2": "AudioLDM 2",
    "aura_flow": "AuraFlow",
    "chroma": "Chroma",
    "unclip": "unCLIP",
    "stable_unclip": "Stable unCLIP",
    "cogvideox": "CogVideoX",
    "cogview_4": "CogView 4",
    "flux_2": "FLUX.2 klein",
    "hidream": "HiDream",
    "hunyuan_video": "HunyuanVideo",
    "kolors": "Kolors",
    "krea_2": "Krea 2",
    "ltx_2": "LTX-2",
    "ltx_video": "LTX-Video",
    "lumina_2": "Lumina 2",
    "qwen_image": "Qwen-Image",
    "sana": "Sana",
    "stable_audio": "Stable Audio",
    "stable_audio_3": "Stable Audio 3",
    "stable_video_diffusion": "Stable Video Diffusion",
    "wan": "Wan 2.1",
    "z_image": "Z-Image",
    # whose folders draw with a picture alone, see their own tests
    "latent_upscale": None,
    "qwen_image_edit": None,
    "stable_cascade": None,
    "stable_diffusion_upscale": None,
}
"""The kinds of folder of those whose likeness to Diffusers their own tests show."""
QUICK = ("stable_diffusion", "ddpm")


@pytest.mark.parametrize("name", some_slow(FAMILIES, QUICK))
def test_no_shipped_family_raises_an_alarm(name: str, tmp_path: Path) -> None:
    said = outcomes(shipped("family", name, tiny.FOLDERS[FAMILIES[name]].write(tmp_path / "model")))
    assert not [word for word in said.values() if word.startswith("failed")], said
    assert said["as_diffusers"].startswith("passed within"), said


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, kind in FURTHER.items() if kind])
def test_nor_does_a_further_one(name: str, tmp_path: Path) -> None:
    folder = tiny.MORE_FOLDERS[FURTHER[name]].write(tmp_path / "model")
    said = outcomes(shipped("family", name, folder))
    del said["as_diffusers"]  # which knows few inputs
    assert not [word for word in said.values() if word.startswith("failed")], said


def test_a_long_video_is_checked_as_a_small_one(tmp_path: Path) -> None:
    folder = tiny.MORE_FOLDERS["HunyuanVideo"].write(tmp_path / "model")
    ground = on_folder(shipped("family", "hunyuan_video", folder))
    info, drawn = ground.pipe.composition.info, ground.pipe.composition.extent()
    latents, usual = info.latents, info.default_extent
    assert math.prod(latents.shape(usual)[1:]) > 100_000
    assert math.prod(latents.shape(drawn)[1:]) < 5000
    assert all(1 < drawn[axis] < length for axis, length in usual.items())


def test_a_sound_is_not_held_against_pictures() -> None:
    (tones,) = (one.folder for one in installed().models if one.name == "tones")
    said = outcome(shipped("family", "stable_audio", tones), "as_diffusers")
    assert said.startswith("skipped: it draws audio"), said


def test_every_shipped_family_is_here() -> None:
    assert {plugin.name for plugin in installed().of_kind("family")} == {*FAMILIES, *FURTHER}


def test_a_picture_that_is_not_diffusers_own_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ldm_plugins.families.ddpm import DDPM

    folder = tiny.FOLDERS["DDPM"].write(tmp_path / "model")
    own: Callable[..., Any] = DDPM.build

    def build(self: Any, info: Any, parts: Any, place: Any) -> Any:
        model = own(self, info, parts, place)
        return replace(model, network=lambda call: model.network(call) * 1.05)

    monkeypatch.setattr(DDPM, "build", build)
    assert "from that of Diffusers'" in outcome(shipped("family", "ddpm", folder), "as_diffusers")
