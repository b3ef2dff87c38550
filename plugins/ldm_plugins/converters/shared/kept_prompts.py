"""What cross-attention makes of a prompt, kept through a run.

A layer that projects the prompt to keys or values looks, in the call that is under way in its
thread, whether it did so before for these rows. Without such a call it computes as it always did.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import BRANCHES, Call, Network, RunHooks
from ldm_core.errors import LdmError
from ldm_plugins.converters.shared.reclassed import reclass

if TYPE_CHECKING:
    from torch import Tensor

TEXT = "text"
"""The key of the condition that holds the prompt's hidden states."""


class Kept:
    """Of the rows of a call.

    Attributes:
        text: the hidden states that it was made of.
        made: by layer, of this network.
    """

    def __init__(self, text: Tensor) -> None:
        self.text = text
        self.made: dict[int, Tensor] = {}


_kept: ContextVar[Kept | None] = ContextVar("kept", default=None)


def keep_projections(network: Any) -> int:
    """Let the layers of cross-attention in a network, which is one's own copy, keep what they make.

    Returns:
        How many there are.
    """
    from diffusers.models.attention_processor import Attention

    layers = [
        layer
        for attention in network.modules()
        if isinstance(attention, Attention) and attention.is_cross_attention
        for layer in (attention.to_k, attention.to_v)
    ]
    for number, layer in enumerate(layers):
        reclass(layer, Projection)
        layer.kept_number = number
    return len(layers)


class Projection:
    """A layer from the prompt's hidden states to keys or values."""

    kept_number: int

    def forward(self, *args: Any, **options: Any) -> Tensor:
        kept = _kept.get()
        if kept is None:
            made: Tensor = super().forward(*args, **options)  # type: ignore[misc]
            return made
        known = kept.made.get(self.kept_number)
        if known is None:
            known = kept.made[self.kept_number] = super().forward(  # type: ignore[misc]
                *args, **options
            )
        return known


class KeptPrompts(RunHooks):
    """Keys and values of one run, by the rows of a call; they hold as long as the call's prompts
    are the very tensor that they were made of.

    Args:
        name: of the converter, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def network(self, network: Network) -> Network:
        rows: dict[tuple[tuple[int, str], ...], Kept] = {}
        reached = False

        def cached(call: Call) -> Tensor:
            nonlocal reached
            whose = tuple([(row.image, row.branch) for row in call.rows])
            text = call.condition[TEXT]
            kept = rows.get(whose)
            if kept is None or kept.text is not text:
                kept = rows[whose] = Kept(text)
            token = _kept.set(kept)
            try:
                output = network(call)
            finally:
                _kept.reset(token)
            reached = reached or bool(kept.made)
            if not reached and any(row.branch in BRANCHES for row in call.rows):
                raise LdmError(
                    f"the converter '{self._name}' reaches no layer of the network: another "
                    "converter has put another program in its place.",
                    "leave one of the two out.",
                )
            return output

        return cached
