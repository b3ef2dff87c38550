"""Models of kinds that no package here knows, written as a third party would."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ldm_core import Pipeline, hookimpl
from ldm_core.contracts import Call, Extent, Family, LatentSpace, Model, ModelInfo, Place
from ldm_core.numerics.noise_schedule import FlowSchedule
from ldm_core.plugins.registry import Registry, installed

MEAN, STD = 0.3, 0.5
"""Data of a toy model: every element of a latent is Gaussian by itself."""


def gaussian_velocity(call: Call, mean: float | Tensor = MEAN, std: float = STD) -> Tensor:
    """What a perfect flow network answers for Gaussian data: E[noise - x0 | x], row by row.

    At time s, x = (1 - s)·x0 + s·noise, and the posterior mean of x0 is that of two Gaussians.
    """
    s = (call.t / 1000).reshape(-1, *[1] * (call.x.ndim - 1))
    variance = ((1 - s) * std) ** 2 + s**2
    x0 = mean + (1 - s) * std**2 / variance * (call.x - (1 - s) * mean)
    return (call.x - x0) / s


def exact_end(x: Tensor, mean: float | Tensor = MEAN, std: float = STD) -> Tensor:
    """Where the probability-flow ODE takes noise x at s = 1: its standard score is kept."""
    return mean + std * x


class Toy(Family):
    """A model without weights: a function of a call.

    Args:
        network: answers a call with a velocity.
        more: fields of the `ModelInfo`.
        abilities: of the model, by name.
        defaults: over the recipe's.
    """

    def __init__(
        self,
        network: Callable[[Call], Tensor],
        latents: LatentSpace,
        extent: Extent,
        abilities: Mapping[str, Any] | None = None,
        defaults: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        self._network = network
        self._latents = latents
        self._extent = extent
        self._abilities = dict(abilities or {})
        self._more = {"noise_schedule": FlowSchedule(), "prediction_type": "flow", **more}
        self._defaults = {
            "num_inference_steps": 12,
            "scheduler": "euler",
            "spacing": "trailing",
            "guidance": "none",
            "attention": "native",
            "encoder": "toy",
            "decoder": "toy",
            **(defaults or {}),
        }

    def matches(self, index: Mapping[str, Any]) -> bool:
        return index.get("_class_name") == "ToyPipeline"

    def inspect(self, source: str, folder: Path, index: Mapping[str, Any]) -> ModelInfo:
        return ModelInfo(
            family="toy",
            source=source,
            folder=folder,
            latents=self._latents,
            default_extent=self._extent,
            abilities=frozenset(self._abilities),
            defaults=self._defaults,
            **self._more,
        )

    def load(self, info: ModelInfo, place: Place) -> Model:
        return Model(info, self._network, self._abilities, {}, place)


class Package:
    """A plugin package that offers the family and its parts.

    Args:
        parts: by hook, such as ``decoders``, what is registered there by name.
    """

    ldm_api = ">=2,<3"

    def __init__(self, family: Family, **parts: Mapping[str, Any]) -> None:
        self._family = family
        self._parts = parts

    def _offer(self, hook: str, register: Any) -> None:
        for name, target in self._parts.get(hook, {}).items():
            register(name, target)

    @hookimpl
    def ldm_families(self, register: Any) -> None:
        register("toy", lambda: self._family)

    @hookimpl
    def ldm_encoders(self, register: Any) -> None:
        register("toy", lambda: lambda model, data, noise: data)
        self._offer("encoders", register)

    @hookimpl
    def ldm_decoders(self, register: Any) -> None:
        self._offer("decoders", register)

    @hookimpl
    def ldm_conditioning(self, register: Any) -> None:
        self._offer("conditioning", register)

    @hookimpl
    def ldm_converters(self, register: Any) -> None:
        self._offer("converters", register)

    @hookimpl
    def ldm_writers(self, register: Any) -> None:
        self._offer("writers", register)


def registry_of(family: Family, **parts: Mapping[str, Any]) -> Registry:
    """The installed plugins, and those of the package."""
    registry = Registry()
    registry.plugins += [plugin for plugin in installed().plugins if plugin.kind != "family"]
    registry.add(Package(family, **parts), "ldm-toy", "1.0")
    return registry


def folder_in(path: Path) -> Path:
    """A model folder that the family knows."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "model_index.json").write_text(json.dumps({"_class_name": "ToyPipeline"}))
    return path


def pipeline(
    family: Family, path: Path, choices: Mapping[str, Any] | None = None, **parts: Any
) -> Pipeline:
    """A pipeline of the family's model."""
    registry = registry_of(family, **parts)
    return Pipeline.from_pretrained(folder_in(path), registry=registry, **(choices or {}))


def noise_of(pipe: Pipeline, seeds: list[int], extent: Extent) -> Tensor:
    """The first x of these images, drawn here as the contract says: each from its own seed."""
    shape = (1, *pipe.composition.info.latents.shape(extent))
    return torch.cat(
        [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    )
