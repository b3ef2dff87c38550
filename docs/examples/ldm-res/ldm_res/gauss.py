"""A family: a model that is known exactly, to try solvers on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core import LdmError
from ldm_core.contracts import Call, Family, LatentSpace, Model, ModelInfo, Part, Place
from ldm_core.numerics.noise_schedule import FlowSchedule
from ldm_core.numerics.prediction import FLOW

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = Path("network", "gauss.safetensors")


class Gauss(Family):
    """Grey noise by a network of two weights: folders whose model_index.json names
    LdmResGaussPipeline."""

    def matches(self, index: Mapping[str, Any]) -> bool:
        return index.get("_class_name") == "LdmResGaussPipeline"

    def inspect(self, source: str, folder: Path, index: Mapping[str, Any]) -> ModelInfo:
        if not (folder / WEIGHTS).is_file():
            raise LdmError(f"'{source}' has no {WEIGHTS}.")
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
        from safetensors.torch import load_file

        from .gauss_network import GaussNetwork

        network = GaussNetwork()
        network.load_state_dict(load_file(info.folder / WEIGHTS))
        module = place.put(network.to(place.dtype))
        return make(info, {"network": Part(module, "network", place.device, place.dtype)}, place)


def make(info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
    """The model of a part that was read, or of another in its place."""
    part = parts["network"]

    def network(call: Call) -> Tensor:
        velocity: Tensor = part.module(call.x.to(part.device), (call.t / 1000).to(part.device))
        return velocity.to(call.x.device)

    def remake(others: Mapping[str, Part], where: Place) -> Model:
        return make(info, others, where)

    return Model(info, network, abilities={}, parts=parts, place=place, remake=remake)
