"""Networks that differ from a model's in some layers and share its weights.

Only the modules on the way from the top to such a layer are copied, and not one tensor: the
model's own modules stay as they are, in whatever thread they are used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Attention, Call, Model, Network
from ldm_core.errors import LdmError
from ldm_core.model.modules import shallow_copy
from ldm_plugins.guidance.shared.layers import TEXT

if TYPE_CHECKING:
    from torch import Tensor, nn

Change = Callable[["nn.Module", "Picture"], Callable[..., Any]]
"""``change(layer, picture) -> forward``: what a layer does instead."""

_size: ContextVar[tuple[int, int]] = ContextVar("size")
"""(height, width) of x in the call of an altered network that is under way in this thread."""


@dataclass(frozen=True)
class Picture:
    """What an altered layer knows of x.

    Attributes:
        patch: how many of its places make a side of a transformer's token.
    """

    patch: int

    def tokens(self, count: int, text: str | None) -> tuple[int, int, int]:
        """The picture's among a layer's tokens, row by row: (first, rows, columns).

        Args:
            text: whether tokens of the text are ``before`` or ``after`` them, or None.
        Raises:
            LdmError: x cannot be cut into so many.
        """
        height, width = _size.get()
        rows, columns = height // self.patch, width // self.patch
        if text is not None and rows * columns <= count:
            return (count - rows * columns if text == "before" else 0), rows, columns
        for factor in (2**level for level in range(16)):
            rows, columns = math.ceil(height / factor), math.ceil(width / factor)
            if rows * columns == count:
                return 0, rows, columns
        raise LdmError(
            f"a guidance changes what a layer of attention sees of a latent of {height}x{width}, "
            f"and the layer has {count} tokens, which are no such picture's.",
            "a converter that leaves tokens out, such as token_merging, does not go with it there.",
        )


def altered(model: Model, names: Callable[[nn.Module], Sequence[str]], change: Change) -> Network:
    """The model's network, in which some layers do something else.

    Args:
        names: ``names(network)``, those of the layers, for each network that the model has.
    Raises:
        LdmError: the model cannot be made of other networks.
    """
    picture = Picture(model.info.latents.axis("height").unit)
    others = {
        name: part.altered(lambda network: _altered(network, names(network), change, picture))
        for name, part in model.parts.items()
        if part.role == "network"
    }
    answer = model.replaced(others).network

    def network(call: Call) -> Tensor:
        height, width = call.x.shape[-2:]
        before = _size.set((height, width))
        try:
            return answer(call)
        finally:
            _size.reset(before)

    return network


def _altered(
    network: nn.Module, names: Sequence[str], change: Change, picture: Picture
) -> nn.Module:
    """A copy of a network, of the same tensors, whose layers of these names are changed."""
    ways = {""}  # the network itself, and all on the way to a changed layer
    for name in names:
        steps = name.split(".")
        ways |= {".".join(steps[: depth + 1]) for depth in range(len(steps))}
    kept = [module for name, module in network.named_modules() if name not in ways]
    copied = shallow_copy(network, kept)
    for name in names:
        layer = copied.get_submodule(name)
        layer.forward = change(layer, picture)
    return copied


def attending(kernel: Callable[[Picture, str | None], Attention]) -> Change:
    """A change of attention layers to another kernel.

    Args:
        kernel: ``kernel(picture, text) -> attention``, see `Picture.tokens`; it may call torch's
            own attention, which is then the one in force in the pipeline.
    """
    from ldm_core.run.attention import in_force

    def change(layer: nn.Module, picture: Picture) -> Callable[..., Any]:
        attention = kernel(picture, TEXT[type(layer.processor).__name__])
        own = layer.forward

        def forward(*args: Any, **options: Any) -> Any:
            with in_force(attention):
                return own(*args, **options)

        return forward

    return change
