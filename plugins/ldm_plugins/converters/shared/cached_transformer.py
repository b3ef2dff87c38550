"""A transformer whose deep part can be left out: of its blocks, all behind the first few.

What these blocks add to the picture's tokens is kept, and added in the calls in which they are not
computed (as for one step in Chen et al. 2024, arXiv:2406.01125, and behind the first block in
first-block caches).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ldm_core.errors import LdmError
from ldm_plugins.converters.shared.kept_features import current
from ldm_plugins.converters.shared.reclassed import reclass

if TYPE_CHECKING:
    from torch import Tensor

STACKS = {"transformer_blocks": "num_layers", "single_transformer_blocks": "num_single_layers"}
"""Lists of a transformer's blocks, in the order in which they are called, each with what says in
its config how many there are."""
WITH_TEXT = {
    "BasicTransformerBlock": False,
    "JointTransformerBlock": True,
    "FluxTransformerBlock": True,
    "FluxSingleTransformerBlock": True,
}
"""Diffusers' classes of blocks, with whether they pass on the text's states, before the
picture's."""
NETWORKS = (
    "DiTTransformer2DModel",
    "FluxTransformer2DModel",
    "PixArtTransformer2DModel",
    "SD3Transformer2DModel",
    "Transformer2DModel",
)
"""Diffusers' classes of networks that are such blocks one after the other."""


class Place(NamedTuple):
    """Of a block of the deep part.

    Attributes:
        first, last: it is the first of them, the last.
        with_text: see `WITH_TEXT`.
    """

    first: bool
    last: bool
    with_text: bool


def check_depth(config: Mapping[str, Any], depth: int, wrong: str) -> None:
    """See in a transformer's config that it has blocks behind the first so many.

    Raises:
        LdmError: it has not, or is of a class that is not known.
    """
    cls = config.get("_class_name")
    if cls not in NETWORKS:
        raise LdmError(f"{wrong}: it does not know the network, a {cls}.")
    count = sum(config.get(key) or 0 for key in STACKS.values())
    if depth >= count:
        raise LdmError(
            f"{wrong}: the network has {count} blocks, so depth is at most {count - 1}, not "
            f"{depth}."
        )


def cache_transformer(transformer: Any, depth: int, wrong: str) -> None:
    """Let the blocks of a transformer, which is one's own copy, heed the frame of a call.

    Args:
        depth: how many of the first blocks are computed in every call.
    Raises:
        LdmError: its blocks are not known.
    """
    stacks = dict(transformer.named_children())
    blocks = [block for name in STACKS if name in stacks for block in stacks[name].children()]
    for number, block in enumerate(blocks[depth:], start=depth):
        kind = type(block).__name__
        if kind not in WITH_TEXT:
            raise LdmError(f"{wrong}: it does not know the network's blocks ({kind}).")
        reclass(block, Block)
        block.kept_place = Place(number == depth, number == len(blocks) - 1, WITH_TEXT[kind])


class Block:
    """A block of the deep part."""

    kept_place: Place

    def forward(
        self,
        hidden_states: Tensor,
        *args: Any,
        encoder_hidden_states: Tensor | None = None,
        **options: Any,
    ) -> Any:
        frame, place = current(), self.kept_place
        options["encoder_hidden_states"] = encoder_hidden_states
        if frame is None:
            return super().forward(hidden_states, *args, **options)  # type: ignore[misc]
        if frame.reuses:
            if place.first:
                assert frame.features is not None
                hidden_states = hidden_states + frame.features
            return (encoder_hidden_states, hidden_states) if place.with_text else hidden_states
        if place.first:
            frame.entry = hidden_states
        answer = super().forward(hidden_states, *args, **options)  # type: ignore[misc]
        if place.last and frame.entry is not None:
            frame.features = (answer[1] if place.with_text else answer) - frame.entry
        return answer
