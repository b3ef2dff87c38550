"""Self-attention in networks of videos, where each block has several layers of one kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ldm_core.errors import LdmError
from ldm_plugins.guidance.shared.altered import Picture
from ldm_plugins.guidance.shared.layers import Layers, parts_of

if TYPE_CHECKING:
    from torch import Tensor, nn

OWN = ("attn1", "audio_attn1")
"""What Diffusers calls the layers of a block in which a video, or its sound, attends to itself."""

BETWEEN = ("audio_to_video_attn", "video_to_audio_attn")
"""Those in which the two attend to each other."""


def self_attention(network: nn.Module, layers: Layers, what: str) -> list[str]:
    """The names of the layers within these parts of a network in which tokens attend to each other.

    Raises:
        LdmError: a part has none.
    """
    names: dict[str, None] = {}
    for part in parts_of(network, layers, what):
        inside = [
            f"{part}.{name}".removesuffix(".")
            for name, _ in network.get_submodule(part).named_modules()
            if name.rpartition(".")[2] in OWN
        ]
        if not inside:
            raise LdmError(f"{what}: the part '{part}' of the network has no self-attention.")
        names |= dict.fromkeys(inside)
    return list(names)


def between_modalities(network: nn.Module, what: str) -> list[str]:
    """The names of the layers in which a video and its sound attend to each other.

    Raises:
        LdmError: there are none.
    """
    names = [name for name, _ in network.named_modules() if name.rpartition(".")[2] in BETWEEN]
    if not names:
        raise LdmError(f"{what}: the network has no attention between a video and its sound.")
    return names


def with_values(layer: nn.Module, picture: Picture) -> Callable[..., Any]:
    """A layer of attention in which each token has its own value alone."""
    from ldm_core.run.attention import in_force

    own = layer.forward

    def forward(*args: Any, **options: Any) -> Any:
        with in_force(values):
            return own(*args, **options)

    return forward


def values(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Attention that looks at nothing else."""
    return v


def silent(layer: nn.Module, picture: Picture) -> Callable[..., Any]:
    """A layer of attention that adds nothing."""

    def forward(hidden_states: Tensor, *args: Any, **options: Any) -> Tensor:
        return hidden_states.new_zeros(hidden_states.shape)

    return forward
