"""DiT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from ldm_core.contracts import Call, Condition, Model, ModelInfo, Part, Place
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.folder import Folder, sample_size
from ldm_plugins.families.shared.scheduler_config import read_scheduler

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class DiT(DiffusersFolder):
    """Pictures of a class, drawn by a transformer on latents (Peebles & Xie 2022,
    arXiv:2212.09748): folders whose model_index.json says DiTPipeline.

    The network may predict variances too; the scheduler ``ddpm`` can use them.
    """

    pipelines = ("DiTPipeline",)
    components: ClassVar = {
        "transformer": Component(("DiTTransformer2DModel", "Transformer2DModel"), "network"),
        "vae": Component(("AutoencoderKL",), "autoencoder"),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        transformer = folder.config("transformer")
        channels = transformer.get("in_channels", 4)
        learned = folder.learns_variance(channels, transformer.get("out_channels") or channels)
        folder.check_channels(channels)
        return folder.info(
            "dit",
            read_scheduler(folder.scheduler),
            channels=channels,
            sample=sample_size(transformer, 32),
            patch=transformer.get("patch_size", 2),
            steps=50,
            guidance={"name": "classifier_free", "scale": 4.0},
            abilities=["class_label"],
            needs=frozenset({"class_label"}),
            conditioning=["class_label"],
            learned_variance=learned,
            square=True,  # it puts its patches together as if there were as many across as down
            classes=trained_classes(folder, transformer.get("num_embeds_ada_norm", 1000)),
        )

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        import torch

        transformer = parts["transformer"]
        device, dtype = transformer.device, transformer.dtype

        def network(call: Call) -> Tensor:
            output: Tensor = transformer.module(
                call.x.to(device, dtype),
                timestep=call.t.to(device),
                class_labels=call.condition["class_label"].to(device),
                return_dict=False,
            )[0]
            return output.to(call.x.device, torch.float32)

        ability = Classes(transformer.module.config.num_embeds_ada_norm, device)
        return Model(info, network, {"class_label": ability}, parts, place)


def trained_classes(folder: Folder, count: int) -> tuple[str, ...]:
    """The classes up to the last that has a name, or all where none has.

    `DiTPipeline` fixes the number that stands for no class at 1000, so a network that learnt ten
    classes has room for a thousand, most of it untrained.
    """
    names = folder.class_names(count)
    last = max((number for number, name in enumerate(names) if name), default=count - 1)
    return names[: last + 1]


class Classes:
    """Classes by their number, key ``class_label``.

    Args:
        null: the number that stands for no class; it was put in place of a tenth of the labels in
            training (Peebles & Xie 2022, Section 3.1).
    """

    def __init__(self, null: int, device: torch.device) -> None:
        self._null = null
        self._device = device

    def encode(self, labels: Sequence[int | None]) -> Condition:
        """(labels,) numbers."""
        import torch

        numbers = [self._null if label is None else label for label in labels]
        return {"class_label": torch.tensor(numbers, device=self._device)}
