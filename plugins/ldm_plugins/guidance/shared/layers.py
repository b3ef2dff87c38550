"""Layers of a network: which there are, and their names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ldm_core.contracts import ModelInfo
from ldm_core.errors import LdmError, did_you_mean
from ldm_plugins.shared.networks import FOLDERS, is_unet, network_config

if TYPE_CHECKING:
    from torch import nn

Layers = Sequence[int | str]
"""Numbers of a transformer's blocks, or names of a network's parts."""
STACKS = {
    "transformer_blocks": "num_layers",
    "blocks": "num_layers",
    "single_transformer_blocks": "num_single_layers",
}
"""Lists of a transformer's blocks, each with what says in its config how many there are; the
numbers of blocks go on from one list to the next."""
MIDDLE = ("mid_block",)
TEXT = {
    "AttnProcessor2_0": None,
    "FusedAttnProcessor2_0": None,
    "JointAttnProcessor2_0": "after",
    "FusedJointAttnProcessor2_0": "after",
    "FluxAttnProcessor": "before",
    "Flux2AttnProcessor": "before",
    "Flux2ParallelSelfAttnProcessor": "before",
}
"""Where an attention layer, by its processor, has the tokens of the text: seen from the picture's,
or None where there are none. Those of reference pictures lie there too."""


def check_layers(info: ModelInfo, layers: Layers | None, what: str) -> None:
    """See in the network's config that a model has these layers.

    Args:
        layers: None for a UNet's middle.
        what: the guidance that asks.
    Raises:
        LdmError: it has not, or it is a transformer and none are chosen.
    """
    config = network_config(info)
    if config is None:
        raise LdmError(
            f"{what} is for models with a {' or '.join(FOLDERS)}, and '{info.source}' (family "
            f"{info.family}) has neither."
        )
    numbers = [layer for layer in layers or () if isinstance(layer, int)]
    if is_unet(config):
        if numbers:
            raise LdmError(
                f"the network of '{info.source}' is a UNet, whose blocks have no numbers; name "
                f"parts of it for {what}, such as mid_block or down_blocks.1."
            )
        return
    last = sum(config.get(key, 0) for key in {*STACKS.values()}) - 1
    if not layers:
        raise LdmError(
            f"{what} needs the option 'layers' for '{info.source}': numbers of its transformer's "
            f"blocks, from 0 to {last}."
        )
    for number in numbers:
        if not 0 <= number <= last:
            raise LdmError(
                f"the network of '{info.source}' has no block {number}; its blocks are numbered "
                f"from 0 to {last}."
            )


def check_pictures(info: ModelInfo, what: str) -> None:
    """Raise `LdmError` where a model draws something else than pictures, whose layers of attention
    along the frames are no picture's."""
    if "frames" in info.latents.names:
        raise LdmError(
            f"{what} is for models of pictures, and '{info.source}' (family {info.family}) draws "
            f"{', '.join(info.latents.names)}.",
            "spatio_temporal is the like of perturbed_attention for videos.",
        )


def attention_layers(network: nn.Module, layers: Layers, what: str) -> list[str]:
    """The names of the self-attention layers within these parts of a network.

    Raises:
        LdmError: a part has none, or one of a kind whose tokens are not known.
    """
    names: dict[str, nn.Module] = {}
    for part in parts_of(network, layers, what):
        inside = {
            _path(part, name): layer
            for name, layer in network.get_submodule(part).named_modules()
            if _is_self_attention(layer)
        }
        if not inside:
            raise LdmError(f"{what}: the part '{part}' of the network has no self-attention.")
        names |= inside
    for name, layer in names.items():
        kind = type(layer.processor).__name__
        if kind not in TEXT:
            raise LdmError(
                f"{what} does not know the attention of '{name}' ({kind}); it knows "
                f"{', '.join(TEXT)}."
            )
    return list(names)


def blocks(network: nn.Module, layers: Layers, what: str, kinds: Iterable[str]) -> list[str]:
    """The names of the transformer blocks of these classes within these parts of a network.

    Raises:
        LdmError: a part has none.
    """
    names: dict[str, None] = {}
    for part in parts_of(network, layers, what):
        inside = [
            _path(part, name)
            for name, block in network.get_submodule(part).named_modules()
            if type(block).__name__ in kinds
        ]
        if not inside:
            raise LdmError(
                f"{what}: the part '{part}' of the network has no block of the kinds that it "
                f"knows ({', '.join(kinds)})."
            )
        names |= dict.fromkeys(inside)
    return list(names)


def _is_self_attention(layer: nn.Module) -> bool:
    from diffusers.models.attention import AttentionModuleMixin
    from diffusers.models.attention_processor import Attention

    if isinstance(layer, Attention):
        return not layer.is_cross_attention
    # one of another class is self-attention where `TEXT` has its processor, and else refused
    return isinstance(layer, AttentionModuleMixin)


def _path(part: str, name: str) -> str:
    """The name of a module by that of the part that it is in, and its own there."""
    return f"{part}.{name}".removesuffix(".")


def parts_of(network: nn.Module, layers: Layers, what: str) -> list[str]:
    """The names of modules that numbers and names stand for."""
    modules = dict(network.named_modules())
    numbered = [name for stack in STACKS for name in modules if name.rpartition(".")[0] == stack]
    names = [name for name in modules if name]
    if any(isinstance(layer, int) and layer >= len(numbered) for layer in layers):
        raise LdmError(
            f"{what}: the blocks of the {type(network).__name__} are not numbered as those of the "
            "transformers that it knows; name parts of it.",
            f"its parts: {', '.join(name for name, _ in network.named_children())}",
        )
    parts = [numbered[layer] if isinstance(layer, int) else layer for layer in layers]
    for part in parts:
        if part not in names:
            raise LdmError(
                f"{what}: the network has no part '{part}'.{did_you_mean(part, names)}",
                f"its parts: {', '.join(name for name, _ in network.named_children())}",
            )
    return parts
