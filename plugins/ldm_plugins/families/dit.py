"""DiT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts.family import Condition, Model, ModelInfo
from ldm_core.errors import LdmError
from ldm_core.model.files import read_json
from ldm_core.model.place import Place
from ldm_core.numerics.point import Point
from ldm_plugins.families.shared.diffusers_folder import (
    DiffusersFolder,
    autoencoder_factor,
    class_names,
    latent_size,
)
from ldm_plugins.families.shared.scheduler_config import (
    read_defaults,
    read_prediction_type,
    read_schedule,
)

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
        "transformer": ("DiTTransformer2DModel", "Transformer2DModel"),
        "vae": ("AutoencoderKL",),
    }

    def inspect(self, source: str, folder: Path, index: Mapping[str, Any]) -> ModelInfo:
        transformer = read_json(folder / "transformer" / "config.json")
        vae = read_json(folder / "vae" / "config.json")
        scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
        channels = transformer.get("in_channels", 4)
        returned = transformer.get("out_channels") or channels
        if returned not in (channels, 2 * channels):
            raise LdmError(
                f"'{source}': the network takes {channels} channels and returns {returned}; it "
                f"should return {channels}, or {2 * channels} where it predicts a variance too."
            )
        if channels != vae.get("latent_channels", 4):
            raise LdmError(
                f"'{source}': the network takes {channels} channels and the autoencoder gives "
                f"{vae.get('latent_channels', 4)}."
            )
        self.check(source, folder, index)
        factor = autoencoder_factor(vae)
        width, height = latent_size(transformer, 32)
        return ModelInfo(
            family="dit",
            source=source,
            folder=folder,
            noise_schedule=read_schedule(scheduler),
            prediction_type=read_prediction_type(scheduler),
            latent_channels=channels,
            scale_factor=factor,
            default_size=(width * factor, height * factor),
            abilities=frozenset({"class_label"}),
            scheduler_config=scheduler,
            defaults={
                "num_inference_steps": 50,
                "guidance": {"name": "classifier_free", "scale": 4.0},
                "conditioning": ["class_label"],
                "attention": "native",
                "encoder": "autoencoder_kl",
                "decoder": "autoencoder_kl",
                **read_defaults(scheduler),
            },
            learned_variance=returned == 2 * channels,
            patch=transformer.get("patch_size", 2),
            square=True,  # it puts its patches together as if there were as many across as down
            classes=known_classes(index, transformer.get("num_embeds_ada_norm", 1000)),
        )

    def build(self, info: ModelInfo, components: Mapping[str, Any], place: Place) -> Model:
        import torch

        dtype = place.compute_dtype
        transformer = components["transformer"]

        def network(x: Tensor, point: Point, condition: Condition) -> Tensor:
            t = torch.full((len(x),), point.t, device=x.device)
            labels = condition["class_label"]
            output: Tensor = transformer(
                x.to(dtype), timestep=t, class_labels=labels, return_dict=False
            )[0]
            return output.float()

        ability = Classes(null=transformer.config.num_embeds_ada_norm, device=place.device)
        return Model(info, network, {"class_label": ability}, components, place)


def known_classes(index: Mapping[str, Any], count: int) -> tuple[str, ...]:
    """The classes up to the last that has a name, or all where none has.

    `DiTPipeline` fixes the number that stands for no class at 1000, so a network that learnt ten
    classes has room for a thousand, most of it untrained.
    """
    names = class_names(index, count)
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
