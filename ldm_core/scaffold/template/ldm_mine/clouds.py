"""A family: it knows one kind of model folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core import LdmError
from ldm_core.contracts import Call, Family, LatentSpace, Model, ModelInfo, Part, Place
from ldm_core.numerics.noise_schedule import FlowSchedule
from ldm_core.numerics.prediction import SAMPLE

if TYPE_CHECKING:
    from torch import Tensor

PIPELINE = "MinePipeline"
"""The class that the folders' model_index.json names."""
WEIGHTS = Path("network", "clouds.safetensors")


class Clouds(Family):
    """Clouds by a network of one weight, in folders whose model_index.json says
    MinePipeline."""

    def matches(self, index: Mapping[str, Any]) -> bool:
        return index.get("_class_name") == PIPELINE

    def inspect(self, source: str, folder: Path, index: Mapping[str, Any]) -> ModelInfo:
        if not (folder / WEIGHTS).is_file():
            raise LdmError(f"'{source}' has no {WEIGHTS}.")
        return ModelInfo(
            family="mine",
            source=source,
            folder=folder,
            noise_schedule=FlowSchedule(),
            prediction_type=SAMPLE,
            latents=LatentSpace.of_picture(3),
            default_extent={"height": 64, "width": 64},
            abilities=frozenset(),
            defaults={
                "num_inference_steps": 20,
                "scheduler": "ldm-core:euler",
                "spacing": "ldm-core:trailing",
                "guidance": "ldm-core:none",
                "conditioning": [],
                "attention": "ldm-core:native",
                "encoder": "ldm-core:pixels",
                "decoder": "ldm-core:pixels",
            },
        )

    def load(self, info: ModelInfo, place: Place) -> Model:
        from safetensors.torch import load_file

        from .clouds_network import CloudNetwork

        network = CloudNetwork()
        network.load_state_dict(load_file(info.folder / WEIGHTS))
        module = place.put(network.to(place.dtype))
        return make(info, {"network": Part(module, "network", place.device, place.dtype)}, place)


def make(info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
    """The model of a part that was read, or of another in its place."""
    part = parts["network"]

    def network(call: Call) -> Tensor:
        s = (call.t / 1000).to(part.device)  # (rows,); alpha is 1 - s, and sigma is s
        x0: Tensor = part.module(call.x.to(part.device), 1 - s, s)
        return x0.to(call.x.device)

    def remake(others: Mapping[str, Part], where: Place) -> Model:
        return make(info, others, where)

    return Model(info, network, abilities={}, parts=parts, place=place, remake=remake)
