"""What families share whose network is a `UNet2DModel`: no text, perhaps a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ldm_core.contracts.family import Condition, Network
from ldm_core.errors import LdmError
from ldm_core.numerics.point import Point
from ldm_plugins.families.shared.diffusers_folder import class_names, latent_size

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def describe(source: str, config: Mapping[str, Any], index: Mapping[str, Any]) -> dict[str, Any]:
    """What the network's config says of a model, as fields of a `ModelInfo`.

    Raises:
        LdmError: what it returns is neither like x nor x and a variance, or it takes another kind
            of condition than a class by its number.
    """
    channels, returned = config.get("in_channels", 3), config.get("out_channels", 3)
    if returned not in (channels, 2 * channels):
        raise LdmError(
            f"'{source}': the network takes {channels} channels and returns {returned}; it should "
            f"return {channels}, or {2 * channels} where it predicts a variance too."
        )
    kind = config.get("class_embed_type")
    if kind is not None:
        raise LdmError(
            f"'{source}': the network takes a condition of class_embed_type '{kind}'; only classes "
            "by their number (num_class_embeds) are known."
        )
    width, height = latent_size(config, 64)
    return {
        "latent_channels": channels,
        "learned_variance": returned == 2 * channels,
        "default_size": (width, height),
        # Its skip connections fit sizes that halve evenly at each level alone.
        "patch": 2 ** (len(config.get("block_out_channels", (224, 448, 672, 896))) - 1),
        "classes": class_names(index, config.get("num_class_embeds") or 0),
    }


def network_of(unet: Any, dtype: torch.dtype) -> Network:
    """The network; it takes the condition ``class_label`` where it was trained with classes."""
    import torch

    def network(x: Tensor, point: Point, condition: Condition) -> Tensor:
        t = torch.full((len(x),), point.t, device=x.device)
        labels = condition.get("class_label")
        output: Tensor = unet(x.to(dtype), t, class_labels=labels, return_dict=False)[0]
        return output.float()

    return network


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
