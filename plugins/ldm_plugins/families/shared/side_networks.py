"""ControlNets and T2I-Adapters beside a UNet2DConditionModel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ldm_core.contracts import Call, Condition, Part, Place
from ldm_core.contracts.abilities import SideNetwork
from ldm_plugins.families.shared.shared_parts import SharedParts

if TYPE_CHECKING:
    from torch import Tensor

Added = Callable[[Condition, Part], Mapping[str, "Tensor"] | None]
"""What of a condition joins the time embedding of a network, by Diffusers' names."""


class SideNetworks:
    """Ability ``control`` of models with a UNet2DConditionModel.

    Args:
        added: see `Added`; a ControlNet gets the same as the network.
    """

    def __init__(self, place: Place, added: Added = lambda condition, part: None) -> None:
        self._parts = SharedParts(place)
        self._added = added

    def load(self, folder: Path, name: str, mode: int | None = None) -> SideNetwork:
        """The side network in a folder.

        Args:
            name: its class: ``ControlNetModel`` or ``T2IAdapter``.
            mode: none of them has any.
        """
        part = self._parts.read(folder, name)
        return Adapter(part) if name == "T2IAdapter" else ControlNet(part, self._added)


class ControlNet:
    """A trainable copy of the network's encoder that reads a picture beside x, t and the text
    (Zhang et al. 2023, arXiv:2302.05543, Section 3)."""

    def __init__(self, part: Part, added: Added) -> None:
        self._part = part
        self._added = added
        # it tells one number a channel, for the positive branch alone
        self.guess = bool(part.module.config.global_pool_conditions)

    def read(self, pictures: Tensor) -> Condition:
        return {"picture": pictures}

    def __call__(self, call: Call, features: Condition, weight: float, guess: bool) -> Condition:
        device, dtype = self._part.device, self._part.dtype
        down, mid = self._part.module(
            call.x.to(device, dtype),
            call.t.to(device),
            call.condition["text"].to(device, dtype),
            controlnet_cond=features["picture"].to(device, dtype),
            conditioning_scale=weight,
            guess_mode=guess,
            added_cond_kwargs=self._added(call.condition, self._part),
            return_dict=False,
        )
        residuals = {"mid_residual": mid, **{f"down_residual_{i}": d for i, d in enumerate(down)}}
        return {key: residual.to(call.x.device) for key, residual in residuals.items()}


class Adapter:
    """Features of a picture that are added within the network's encoder (Mou et al. 2023,
    arXiv:2302.08453, Section 3.3); they depend on neither x nor t."""

    guess = False

    def __init__(self, part: Part) -> None:
        self._part = part

    def read(self, pictures: Tensor) -> Condition:
        features = self._part.module(pictures.to(self._part.device, self._part.dtype))
        return {
            f"intrablock_residual_{i}": feature.to(pictures.device)
            for i, feature in enumerate(features)
        }

    def __call__(self, call: Call, features: Condition, weight: float, guess: bool) -> Condition:
        return {key: feature * weight for key, feature in features.items()}
