"""A package with two models without weights: one makes video with sound, the other sound."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ldm_core import hookimpl
from ldm_core.contracts import (
    Axis,
    Call,
    Condition,
    Conditioning,
    Input,
    LatentSpace,
    Medium,
    Model,
    decodes,
    encodes,
)
from ldm_core.plugins import discovery, late
from ldm_core.plugins.registry import Registry, installed
from third_party import Toy, gaussian_velocity

RATE, SAMPLES = 8.0, 16_000.0
VIDEO = LatentSpace(4, (Axis("frames", 4, causal=True), Axis("height", 8), Axis("width", 8)))
SOUND = LatentSpace(2, (Axis("samples", 320),))


def long(x: Tensor) -> Tensor:
    """Each place in time for as many frames as it stands for."""
    return torch.cat([x[:, :, :1], x[:, :, 1:].repeat_interleave(4, dim=2)], dim=2)


@decodes("video")
def frames_and_tone(model: Model, x0: Tensor) -> Medium:
    """Blocks of 8x8 pixels, and a tone as loud as the latents' mean."""
    shown = long(x0[:, :3]).repeat_interleave(8, dim=3).repeat_interleave(8, dim=4)
    seconds = torch.arange(round(shown.shape[2] / RATE * SAMPLES)) / SAMPLES
    tone = torch.sin(2 * math.pi * 440 * seconds)[None, None]
    heard = Medium("audio", 0.5 * x0.mean(dim=(1, 2, 3, 4))[:, None, None] * tone, SAMPLES)
    return Medium("video", shown, rate=RATE, beside=(heard,))


@encodes("video")
def blocks(model: Model, data: Tensor, noise: Any) -> Tensor:
    """The mean of the pixels that share a place; undoes `frames_and_tone` but for rounding."""
    small = torch.nn.functional.avg_pool3d(data, (1, 8, 8))
    first, rest = small[:, :, :1], small[:, :, 1:]
    groups = rest.unflatten(2, (-1, 4)).mean(3)
    whole = torch.cat([first, groups], dim=2)
    return torch.cat([whole, torch.zeros_like(whole[:, :1])], dim=1)


@decodes("audio")
def steps(model: Model, x0: Tensor) -> Medium:
    return Medium("audio", x0.repeat_interleave(320, dim=2), rate=SAMPLES)


@encodes("audio")
def means(model: Model, data: Tensor, noise: Any) -> Tensor:
    return torch.nn.functional.avg_pool1d(data, 320)


class Words(Conditioning):
    """Takes a prompt, and tells the network nothing of it."""

    @property
    def inputs(self) -> Mapping[str, Input]:
        return {"prompt": Input(str | None, None)}


class Labels:
    """The ability of a model of classes: each is told by its number, no class by -1."""

    def encode(self, labels: Sequence[int | None]) -> Condition:
        return {"label": torch.tensor([-1.0 if label is None else label for label in labels])}


LEVELS = torch.tensor([-0.5, 0.5])
"""The mean of the sounds of each class."""


def by_class(call: Call) -> Tensor:
    """A perfect network of sounds that lie closely around their class' mean."""
    mean = LEVELS[call.condition["label"].long()]
    return gaussian_velocity(call, mean.reshape(-1, 1, 1), 0.01)


class Named(Toy):
    def __init__(self, name: str, network: Any = gaussian_velocity, **more: Any) -> None:
        super().__init__(network, **more)
        self._name = name

    def matches(self, index: Mapping[str, Any]) -> bool:
        return index.get("_class_name") == self._name


def parts_of(name: str) -> dict[str, Any]:
    own = {"encoder": name, "decoder": name, "num_inference_steps": 3}
    return {"defaults": {**own, "conditioning": [{"name": "words"}]}}


class Package:
    ldm_api = ">=2,<3"

    @hookimpl
    def ldm_families(self, register: Any) -> None:
        size = {"frames": 9, "height": 16, "width": 24}
        register(
            "moving",
            lambda: Named("Moving", latents=VIDEO, extent=size, rate=RATE, **parts_of("moving")),
        )
        register(
            "noises",
            lambda: Named(
                "Noises",
                latents=SOUND,
                extent={"samples": 6400},
                rate=SAMPLES,
                audio_channels=2,
                **parts_of("noises"),
            ),
        )

        own = {**parts_of("noises")["defaults"], "conditioning": ["class_label"]}
        register(
            "barks",
            lambda: Named(
                "Barks",
                by_class,
                latents=SOUND,
                extent={"samples": 6400},
                rate=SAMPLES,
                audio_channels=2,
                abilities={"class_label": Labels()},
                classes=("dog, puppy", "wolf"),
                defaults=own,
            ),
        )

    @hookimpl
    def ldm_encoders(self, register: Any) -> None:
        register("moving", lambda: blocks)
        register("noises", lambda: means)

    @hookimpl
    def ldm_decoders(self, register: Any) -> None:
        register("moving", lambda: frames_and_tone)
        register("noises", lambda: steps)

    @hookimpl
    def ldm_conditioning(self, register: Any) -> None:
        register("words", Words)


def registry() -> Registry:
    """The installed plugins, and those of the package."""
    whole = Registry()
    whole.plugins += installed().plugins
    whole.add(Package(), "ldm-toy", "1.0")
    return whole


def be_listed(monkeypatch: pytest.MonkeyPatch, registry: Registry) -> None:
    """Let the program find the plugins of a registry, whatever a test before it listed and left."""
    monkeypatch.setattr(late, "_listed", [])
    monkeypatch.setattr(discovery, "installed", lambda rules=None: registry)


def write_model(path: Path, name: str) -> Path:
    """A folder of one of the models, ``Moving``, ``Noises`` or ``Barks``, of two classes."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "model_index.json").write_text(json.dumps({"_class_name": name}))
    return path
