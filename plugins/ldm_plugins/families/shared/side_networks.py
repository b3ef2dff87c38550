"""ControlNets and T2I-Adapters beside a UNet2DConditionModel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core.contracts.abilities import SideNetwork
from ldm_core.contracts.family import Condition
from ldm_core.model.place import Place
from ldm_core.numerics.point import Point
from ldm_plugins.families.shared.shared_components import SharedComponents

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Added = Callable[[Condition], Mapping[str, "Tensor"] | None]
"""What of a condition joins the time embedding, by Diffusers' names."""


class SideNetworks:
    """Ability ``control`` of models with a UNet2DConditionModel.

    Args:
        added: see `Added`; a ControlNet is told the same as the network.
    """

    def __init__(self, place: Place, added: Added = lambda condition: None) -> None:
        self._components = SharedComponents(place)
        self._dtype = place.compute_dtype
        self._added = added

    def load(self, folder: Path, name: str) -> SideNetwork:
        """The side network in a folder.

        Args:
            name: its class: ``ControlNetModel`` or ``T2IAdapter``.
        """
        net = self._components.read(folder, name)
        if name == "T2IAdapter":
            return Adapter(net, self._dtype)
        return ControlNet(net, self._dtype, self._added)


class ControlNet:
    """A trainable copy of the network's encoder that reads a picture beside x, t and the text
    (Zhang et al. 2023, arXiv:2302.05543, Section 3)."""

    def __init__(self, net: Any, dtype: torch.dtype, added: Added) -> None:
        self._net = net
        self._dtype = dtype
        self._added = added
        # it tells one number a channel, for the positive branch alone
        self.guess = bool(net.config.global_pool_conditions)

    def read(self, pictures: Tensor) -> Condition:
        return {"picture": pictures}

    def __call__(
        self,
        x: Tensor,
        point: Point,
        condition: Condition,
        known: Condition,
        weight: float,
        guess: bool,
    ) -> Condition:
        import torch

        down, mid = self._net(
            x.to(self._dtype),
            torch.full((len(x),), point.t, device=x.device),
            condition["text"].to(self._dtype),
            controlnet_cond=known["picture"].to(self._dtype),
            conditioning_scale=weight,
            guess_mode=guess,
            added_cond_kwargs=self._added(condition),
            return_dict=False,
        )
        return {"mid_residual": mid, **{f"down_residual_{i}": d for i, d in enumerate(down)}}


class Adapter:
    """Features of a picture that are added within the network's encoder (Mou et al. 2023,
    arXiv:2302.08453, Section 3.3); they depend on neither x nor t."""

    guess = False

    def __init__(self, net: Any, dtype: torch.dtype) -> None:
        self._net = net
        self._dtype = dtype

    def read(self, pictures: Tensor) -> Condition:
        features = self._net(pictures.to(self._dtype))
        return {f"intrablock_residual_{i}": feature for i, feature in enumerate(features)}

    def __call__(
        self,
        x: Tensor,
        point: Point,
        condition: Condition,
        known: Condition,
        weight: float,
        guess: bool,
    ) -> Condition:
        return {key: feature * weight for key, feature in known.items()}
