"""ControlNets and T2I-Adapters beside a UNet2DConditionModel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Call, Condition, Part, Place
from ldm_core.contracts.abilities import SideNetwork, Weight
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

    def load(
        self, folder: Path, name: str, mode: int | tuple[int, ...] | None = None
    ) -> SideNetwork:
        """The side network in a folder.

        Args:
            name: its class: ``ControlNetModel``, ``ControlNetUnionModel`` or ``T2IAdapter``.
            mode: the kinds of the pictures that a union reads.
        """
        part = self._parts.read(folder, name)
        if name == "T2IAdapter":
            return Adapter(part)
        if mode is None:
            return ControlNet(part, self._added)
        return ControlNetUnion(part, self._added, mode if isinstance(mode, tuple) else (mode,))


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

    def __call__(self, call: Call, features: Condition, weight: Weight, guess: bool) -> Condition:
        picture = features["picture"].to(self._part.device, self._part.dtype)
        return self._ask(call, guess, controlnet_cond=picture, conditioning_scale=weight)

    def _ask(self, call: Call, guess: bool, **pictures: Any) -> Condition:
        """What it gives the rows of a call.

        Args:
            pictures: what it is shown and how, by the names of the network's arguments.
        """
        device, dtype = self._part.device, self._part.dtype
        down, mid = self._part.module(
            call.x.to(device, dtype),
            call.t.to(device),
            call.condition["text"].to(device, dtype),
            **pictures,
            guess_mode=guess,
            added_cond_kwargs=self._added(call.condition, self._part),
            return_dict=False,
        )
        residuals = {"mid_residual": mid, **{f"down_residual_{i}": d for i, d in enumerate(down)}}
        return {key: residual.to(call.x.device) for key, residual in residuals.items()}


class ControlNetUnion(ControlNet):
    """One for several kinds of pictures, of which it reads one or more at once (xinsir 2024,
    ControlNet++, https://github.com/xinsir6/ControlNetPlus).

    With one picture, its weight is that of the residuals; with several, each one's weight is that
    of what the network sees of it, as in Diffusers.

    Args:
        modes: the kind of each picture.
    """

    def __init__(self, part: Part, added: Added, modes: tuple[int, ...]) -> None:
        super().__init__(part, added)
        self._modes = modes

    def read(self, pictures: Tensor) -> Condition:
        each = pictures.chunk(len(self._modes), dim=1)
        return {f"picture_{number}": picture for number, picture in enumerate(each)}

    def __call__(self, call: Call, features: Condition, weight: Weight, guess: bool) -> Condition:
        import torch

        device, dtype = self._part.device, self._part.dtype
        kinds = torch.zeros(len(call.x), self._part.module.config.num_control_type)
        kinds[:, list(self._modes)] = 1
        weights = weight if isinstance(weight, tuple) else [weight] * len(self._modes)
        names = [f"picture_{number}" for number in range(len(self._modes))]
        return self._ask(
            call,
            guess,
            controlnet_cond=[features[name].to(device, dtype) for name in names],
            control_type=kinds.to(device, dtype),
            control_type_idx=list(self._modes),
            conditioning_scale=list(weights),
        )


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

    def __call__(self, call: Call, features: Condition, weight: Weight, guess: bool) -> Condition:
        assert not isinstance(weight, tuple)
        return {key: feature * weight for key, feature in features.items()}
