"""What families share whose network is a `UNet2DModel`: no text, perhaps a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ldm_core.contracts import Call, Condition, Model, ModelInfo, Part, Place
from ldm_core.errors import LdmError
from ldm_plugins.families.shared.folder import Folder, sample_size
from ldm_plugins.families.shared.scheduler_config import FolderScheduler

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def describe(folder: Folder, family: str, scheduler: FolderScheduler, steps: int) -> ModelInfo:
    """What the folder says of such a model.

    Raises:
        LdmError: what the network returns is neither like x nor x and a variance, it takes other
            latents than the autoencoder's, or another kind of condition than a class by its number.
    """
    unet = folder.config("unet")
    channels = unet.get("in_channels", 3)
    learned = folder.learns_variance(channels, unet.get("out_channels", 3))
    kind = unet.get("class_embed_type")
    if kind is not None:
        raise folder.error(
            f"the network takes a condition of class_embed_type '{kind}'; only classes by their "
            "number (num_class_embeds) are known."
        )
    on_pixels = folder.codec == "pixels"
    if not on_pixels:
        folder.check_channels(channels)
    classes = folder.class_names(unet.get("num_class_embeds") or 0)
    abilities = ["class_label"] if classes else []
    return folder.info(
        family,
        scheduler,
        channels=channels,
        sample=sample_size(unet, 64),
        # Its skip connections fit sizes that halve evenly at each level alone.
        patch=2 ** (len(unet.get("block_out_channels", (224, 448, 672, 896))) - 1),
        steps=steps,
        guidance="none",
        abilities=abilities,
        needs=frozenset(abilities),
        conditioning=abilities,
        learned_variance=learned,
        image_channels=channels if on_pixels else folder.autoencoder.get("out_channels", 3),
        classes=classes,
    )


def build(info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
    """Such a model; its network takes the condition ``class_label`` where it has classes."""
    import torch

    part = parts["unet"]

    def network(call: Call) -> Tensor:
        labels = call.condition.get("class_label")
        output: Tensor = part.module(
            call.x.to(part.device, part.dtype),
            call.t.to(part.device),
            class_labels=None if labels is None else labels.to(part.device),
            return_dict=False,
        )[0]
        return output.to(call.x.device, torch.float32)

    abilities = {"class_label": UNetClasses(part.device)} if info.classes else {}
    return Model(info, network, abilities, parts, place)


class UNetClasses:
    """Classes by their number, key ``class_label``; the network knows no picture without one."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def encode(self, labels: Sequence[int | None]) -> Condition:
        """(labels,) numbers."""
        import torch

        if None in labels:
            raise LdmError(
                "the guidance compares with a picture of no class, which this network was not "
                "trained to draw; give the class to lead away from as negative_class_label, or "
                "choose the guidance 'none'."
            )
        return {"class_label": torch.tensor(labels, device=self._device)}
