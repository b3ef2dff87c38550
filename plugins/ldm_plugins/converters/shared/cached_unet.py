"""A UNet whose deep part can be left out (DeepCache: Ma et al. 2023, arXiv:2312.00858).

The outermost layers of the decoder take, beside what comes from beneath, what the encoder's first
layers pass on to them. So where the features from beneath are those of an earlier call, only these
layers of the encoder and those of the decoder are computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ldm_core.errors import LdmError
from ldm_plugins.converters.shared.kept_features import current
from ldm_plugins.converters.shared.reclassed import reclass

if TYPE_CHECKING:
    from torch import Tensor

KINDS = ("2D", "Motion", "SpatioTemporal")
DOWN = (
    "AttnDownBlock2D",
    *(f"{name}{k}" for k in KINDS for name in ("DownBlock", "CrossAttnDownBlock")),
)
UP = ("AttnUpBlock2D", *(f"{name}{k}" for k in KINDS for name in ("UpBlock", "CrossAttnUpBlock")))
"""Diffusers' classes of blocks, of resnets with or without attention one after the other, and what
mixes the frames of a video behind each."""
STACKS = ("resnets", "attentions", "motion_modules")
"""Lists of a block's layers, of which it has one of each, or as many, for a resnet."""


@dataclass(frozen=True)
class Depth:
    """How much of a block is computed anew.

    Attributes:
        layers: of the encoder's first block the first so many, of the decoder's last block the
            last so many; of others none.
    """

    layers: int = 0


def check_blocks(config: Any, depth: int, wrong: str) -> None:
    """See in a UNet's config that it has the blocks which are known, and so many layers outside.

    Raises:
        LdmError: it has others.
    """
    down = config.get("down_block_types") or []
    up = config.get("up_block_types") or []
    strange = [name for name in (*down, *up) if name not in (*DOWN, *UP)]
    if strange or not down:
        raise LdmError(f"{wrong}: it does not know the network's blocks ({', '.join(strange)}).")
    layers = config.get("layers_per_block", 2)
    layers = layers[0] if isinstance(layers, Sequence) else layers
    if depth > layers + 1:
        raise LdmError(
            f"{wrong}: its outermost block has {layers + 1} layers, so depth is at most "
            f"{layers + 1}, not {depth}."
        )


def cache_unet(unet: Any, depth: int) -> None:
    """Let the blocks of a UNet, which is one's own copy, heed the frame of a call.

    Args:
        depth: how many of the decoder's last layers are computed in every call.
    """
    for number, block in enumerate(unet.down_blocks):
        reclass(block, Down)
        block.kept_depth = Depth(depth - 1 if number == 0 else 0)
    if unet.mid_block is not None:
        reclass(unet.mid_block, Middle)
    for block in unet.up_blocks:
        reclass(block, Up)
        block.kept_depth = None
    unet.up_blocks[-1].kept_depth = Depth(depth)


class Down:
    """A block of the encoder."""

    kept_depth: Depth

    def forward(self, hidden_states: Tensor, *args: Any, **options: Any) -> Any:
        frame = current()
        if frame is None or not frame.reuses:
            return super().forward(hidden_states, *args, **options)  # type: ignore[misc]
        block: Any = self
        nothing = hidden_states.new_zeros(())
        passed = len(block.resnets) + (block.downsamplers is not None)
        layers = self.kept_depth.layers
        if not layers:
            return nothing, (nothing,) * passed
        if layers < len(block.resnets):  # what an adapter adds is added behind the last
            options.pop("additional_residuals", None)
        first = _part(block, slice(0, layers))
        forward = super(Down, first).forward  # type: ignore[misc]
        _, states = forward(hidden_states, *args, **options)
        return nothing, (*states, *(nothing,) * (passed - layers))


class Middle:
    """The block between encoder and decoder."""

    def forward(self, hidden_states: Tensor, *args: Any, **options: Any) -> Any:
        frame = current()
        if frame is None or not frame.reuses:
            return super().forward(hidden_states, *args, **options)  # type: ignore[misc]
        return hidden_states


class Up:
    """A block of the decoder."""

    kept_depth: Depth | None

    def forward(
        self,
        hidden_states: Tensor,
        res_hidden_states_tuple: tuple[Tensor, ...],
        *args: Any,
        **options: Any,
    ) -> Any:
        frame, states = current(), res_hidden_states_tuple
        if frame is None or (self.kept_depth is None and not frame.reuses):
            return super().forward(hidden_states, states, *args, **options)  # type: ignore[misc]
        if self.kept_depth is None:
            return hidden_states
        block: Any = self
        layers = self.kept_depth.layers
        beneath = len(block.resnets) - layers
        if not frame.reuses:
            if beneath:
                head = super(Up, _part(block, slice(0, beneath))).forward  # type: ignore[misc]
                hidden_states = head(hidden_states, states[layers:], *args, **options)
            frame.leave(_rows(hidden_states, frame.rows))
        assert frame.features is not None
        tail = super(Up, _part(block, slice(beneath, None), ends=True)).forward  # type: ignore[misc]
        features = frame.features.flatten(0, -4)
        return tail(features, states[:layers], *args, **options)


def _rows(states: Tensor, rows: int) -> Tensor:
    """A row for each of a call's; inside the network the frames of a video are rows of their
    own."""
    several = len(states) > rows and len(states) % rows == 0
    return states.reshape(rows, -1, *states.shape[1:]) if several else states


def _part(block: Any, layers: slice, ends: bool = False) -> Any:
    """A block of some of the layers of another.

    Args:
        ends: what changes the size behind the last layer belongs to it.
    """
    from torch import nn

    part: Any = copy(block)
    part._modules = dict(block._modules)
    count = len(block.resnets)
    for name in STACKS:
        if (stack := block._modules.get(name)) is not None:
            assert isinstance(stack, nn.ModuleList)
            each = len(stack) // count
            places = [i * each + j for i in range(count)[layers] for j in range(each)]
            part._modules[name] = nn.ModuleList([stack[place] for place in places])
    if not ends:
        for name in ("downsamplers", "upsamplers"):
            part._modules.pop(name, None)
            part.__dict__[name] = None
    return part
