"""A family: a model that is known exactly, to try solvers on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Call, Family, LatentSpace, Model, ModelInfo, Place
from ldm_core.numerics.noise_schedule import FlowSchedule
from ldm_core.numerics.prediction import FLOW

if TYPE_CHECKING:
    from torch import Tensor

MEAN, STD = 0.2, 0.3
"""Of every pixel, which knows nothing of the others."""


class Gauss(Family):
    """Grey noise without weights: folders whose model_index.json names LdmResGaussPipeline."""

    def matches(self, index: Mapping[str, Any]) -> bool:
        return index.get("_class_name") == "LdmResGaussPipeline"

    def inspect(self, source: str, folder: Path, index: Mapping[str, Any]) -> ModelInfo:
        return ModelInfo(
            family="gauss",
            source=source,
            folder=folder,
            noise_schedule=FlowSchedule(),
            prediction_type=FLOW,
            latents=LatentSpace.of_picture(1),
            default_extent={"height": 16, "width": 16},
            abilities=frozenset(),
            image_channels=1,
            defaults={
                "num_inference_steps": 20,
                "scheduler": "ldm-res:res_2m",
                "spacing": "ldm-core:trailing",
                "guidance": "ldm-core:none",
                "conditioning": [],
                "attention": "ldm-core:native",
                "encoder": "ldm-core:pixels",
                "decoder": "ldm-core:pixels",
            },
        )

    def load(self, info: ModelInfo, place: Place) -> Model:
        return Model(info, velocity, abilities={}, parts={}, place=place)


def velocity(call: Call) -> Tensor:
    """E[noise - x0 | x] of Gaussian data, row by row; at time s, x = (1 - s)·x0 + s·noise."""
    s = (call.t / 1000).reshape(-1, 1, 1, 1)
    variance = ((1 - s) * STD) ** 2 + s**2
    x0 = MEAN + (1 - s) * STD**2 / variance * (call.x - (1 - s) * MEAN)
    return (call.x - x0) / s
