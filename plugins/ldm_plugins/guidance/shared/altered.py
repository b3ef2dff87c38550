"""Networks that differ from a model's in some layers and share its weights.

Only the modules on the way from the top to such a layer are copied, and not one tensor: the
model's own modules stay as they are, in whatever thread they are used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Attention
from ldm_core.contracts.family import Condition, Model, ModelInfo, Network
from ldm_core.errors import LdmError, did_you_mean
from ldm_core.model.files import read_json
from ldm_core.model.modules import shallow_copy
from ldm_core.numerics.point import Point

if TYPE_CHECKING:
    from torch import Tensor, nn

Layers = Sequence[int | str]
NETWORKS = ("transformer", "unet")
STACKS = {"transformer_blocks": "num_layers", "single_transformer_blocks": "num_single_layers"}
"""Lists of a transformer's blocks, each with what says in its config how many there are; the
numbers of blocks go on from one list to the next."""
MIDDLE = ("mid_block",)
TEXT = {"AttnProcessor2_0": None, "JointAttnProcessor2_0": "after", "FluxAttnProcessor": "before"}
"""Where an attention layer, by its processor, has the tokens of the text: seen from the picture's,
or None where there are none."""

Change = Callable[["nn.Module", "Picture"], Callable[..., Any]]
"""``change(layer, picture) -> forward``: what a layer does instead."""


@dataclass
class Picture:
    """What an altered layer knows of x.

    Attributes:
        size: (height, width) of x in the call under way.
        patch: how many of its pixels make a side of a transformer's token.
    """

    patch: int
    size: tuple[int, int] = (0, 0)

    def tokens(self, count: int, text: str | None) -> tuple[int, int, int]:
        """The picture's among a layer's tokens, row by row: (first, rows, columns).

        Args:
            text: whether tokens of the text are ``before`` or ``after`` them, or None.
        Raises:
            LdmError: x cannot be cut into so many.
        """
        height, width = self.size
        rows, columns = height // self.patch, width // self.patch
        if text is not None and rows * columns <= count:
            return (count - rows * columns if text == "before" else 0), rows, columns
        for factor in (2**level for level in range(16)):
            rows, columns = math.ceil(height / factor), math.ceil(width / factor)
            if rows * columns == count:
                return 0, rows, columns
        raise LdmError(f"an attention layer's {count} tokens are no latent of {height}x{width}.")


def check_layers(info: ModelInfo, layers: Layers | None, what: str) -> None:
    """See in the network's config that a model has these layers.

    Args:
        layers: numbers of a transformer's blocks, or names of a network's parts; None for a UNet's
            middle.
        what: the guidance that asks.
    Raises:
        LdmError: it has not, or it is a transformer and none are chosen.
    """
    paths = (info.folder / name / "config.json" for name in NETWORKS)
    config = next((read_json(path) for path in paths if path.is_file()), None)
    if config is None:
        raise LdmError(
            f"{what} is for models with a {' or '.join(NETWORKS)}, and '{info.source}' (family "
            f"{info.family}) has neither."
        )
    numbers = [layer for layer in layers or () if isinstance(layer, int)]
    if "down_block_types" in config:
        if numbers:
            raise LdmError(
                f"the network of '{info.source}' is a UNet, whose blocks have no numbers; name "
                f"parts of it for {what}, such as mid_block or down_blocks.1."
            )
        return
    last = sum(config.get(key, 0) for key in STACKS.values()) - 1
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


def attention_layers(model: Model, layers: Layers, what: str) -> list[str]:
    """The names of the self-attention layers within these parts of the network.

    Raises:
        LdmError: a part has none, or one of a kind whose tokens are not known.
    """
    network = network_of(model)[1]
    found: dict[str, nn.Module] = {}
    for part in _parts(network, layers, what):
        inside = {
            f"{part}.{name}".removesuffix("."): layer
            for name, layer in network.get_submodule(part).named_modules()
            if hasattr(layer, "to_q") and not getattr(layer, "is_cross_attention", False)
        }
        if not inside:
            raise LdmError(f"{what}: the part '{part}' of the network has no self-attention.")
        found |= inside
    for name, layer in found.items():
        kind = type(getattr(layer, "processor", None)).__name__
        if kind not in TEXT:
            raise LdmError(
                f"{what} does not know the attention of '{name}' ({kind}); it knows "
                f"{', '.join(TEXT)}."
            )
    return list(found)


def blocks(model: Model, layers: Layers, what: str, kinds: Iterable[str]) -> list[str]:
    """The names of the transformer blocks of these classes within these parts of the network.

    Raises:
        LdmError: a part has none.
    """
    network = network_of(model)[1]
    found: dict[str, None] = {}
    for part in _parts(network, layers, what):
        inside = [
            f"{part}.{name}".removesuffix(".")
            for name, block in network.get_submodule(part).named_modules()
            if type(block).__name__ in kinds
        ]
        if not inside:
            raise LdmError(
                f"{what}: the part '{part}' of the network has no block of the kinds that it "
                f"knows ({', '.join(kinds)})."
            )
        found |= dict.fromkeys(inside)
    return list(found)


def altered(model: Model, names: Sequence[str], change: Change) -> Network:
    """The model's network, in which the layers of these names do something else."""
    key, network = network_of(model)
    ways = {""}  # the network itself, and all on the way to a changed layer
    for name in names:
        steps = name.split(".")
        ways |= {".".join(steps[: depth + 1]) for depth in range(len(steps))}
    kept = [module for name, module in network.named_modules() if name not in ways]
    copied = shallow_copy(network, kept)
    picture = Picture(model.info.patch)
    for name in names:
        layer = copied.get_submodule(name)
        setattr(layer, "forward", change(layer, picture))  # noqa: B010 - of this one layer
    if model.remake is None:
        raise LdmError(f"the model '{model.info.source}' cannot be made of other components.")
    answer = model.remake({key: copied}).network

    def network_on(x: Tensor, point: Point, condition: Condition) -> Tensor:
        height, width = x.shape[-2:]
        picture.size = (height, width)
        return answer(x, point, condition)

    return network_on


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


def network_of(model: Model) -> tuple[str, nn.Module]:
    """The component that is the network, with its name.

    Raises:
        LdmError: there is none by the usual names.
    """
    for name in NETWORKS:
        if name in model.components:
            return name, model.components[name]
    raise LdmError(f"the model '{model.info.source}' has neither {' nor '.join(NETWORKS)}.")


def _parts(network: nn.Module, layers: Layers, what: str) -> list[str]:
    """The names of modules that numbers and names stand for."""
    numbered = [
        f"{stack}.{index}" for stack in STACKS for index in range(len(getattr(network, stack, ())))
    ]
    known = [name for name, _ in network.named_modules() if name]
    parts = [numbered[layer] if isinstance(layer, int) else layer for layer in layers]
    for part in parts:
        if part not in known:
            raise LdmError(
                f"{what}: the network has no part '{part}'.{did_you_mean(part, known)}",
                f"its parts: {', '.join(name for name, _ in network.named_children())}",
            )
    return parts
