"""The layers of attention in one call of a network, counted on shapes: how many of them a kernel
reaches, and which of several kernels computes each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from ldm_core.composition.composition import Composition
from ldm_core.contracts import Kernel, Model, Phase, Place, torchs_own
from ldm_core.contracts.attention import MaskKind, dtype_name, mask_kind
from ldm_core.errors import LdmError, PluginError
from ldm_core.model.loading import in_short
from ldm_core.run.attention import by_kernel
from ldm_core.run.memory.live_bytes import Allocator, LiveBytes
from ldm_core.run.memory.plan import Planner
from ldm_core.run.memory.shape_walk import Fused, begun, is_module, shaped


@dataclass(frozen=True)
class Layer:
    """What is asked of a layer of attention.

    Attributes:
        part: of the model, by its name.
        mask: the kind of its mask; None where it has none.
    """

    part: str
    heads: int
    head_size: int
    queries: int
    keys: int
    mask: MaskKind | None

    @property
    def kind(self) -> str:
        """Whether tokens see one another, or others, as far as their number tells."""
        return "self" if self.queries == self.keys else "cross"


@dataclass(frozen=True)
class AttentionLayers:
    """The layers that end in torch's own attention, which a kernel reaches.

    Attributes:
        counts: how many layers of each kind there are in one call of each part.
        parts: the class of each part with weights, by its name, also of those with no such layer.
        networks: the names of those that are the model's network.
    """

    counts: Mapping[Layer, int]
    parts: Mapping[str, str]
    networks: Sequence[str]

    def of(self, part: str) -> int:
        """How many layers a part has."""
        return sum(count for layer, count in self.counts.items() if layer.part == part)


def attention_layers(composition: Composition, place: Place) -> AttentionLayers:
    """Walk one call of each part of a model on shapes, and count.

    Args:
        place: where it will be.
    Raises:
        LdmError: a part of the run depends on more than shapes.
    """
    # a kernel of the composition's own would be asked on shapes that it may not know
    plain = replace(composition, attention=torchs_own(_torchs))
    plan = Planner(plain, place).example()
    counting = _Counting()
    try:
        model = shaped(plain, place, (Phase.LAYOUT,))
        counting.watch(model)
        # which also answers what is asked of values that are not there
        with torch.no_grad(), Fused(), counting, LiveBytes({}, Allocator()):
            sampling = begun(plain, model, plan)
            latents = sampling.x
            if len(plan.grid) > 1:
                latents = torch.empty_like(sampling.denoiser()(latents, plan.grid[0]))
            plain.decoder.medium(model, latents)
    except (RuntimeError, TypeError, ValueError) as error:  # what is no shape's to say
        if isinstance(error, LdmError) and not isinstance(error, PluginError):
            raise
        raise LdmError(
            f"the layers of attention of '{composition.info.source}' cannot be counted without "
            f"its weights: {in_short(error)}",
        ) from error
    modules = {name: p.module for name, p in model.parts.items() if is_module(p.module)}
    return AttentionLayers(
        counting.counts,
        {name: type(module).__name__ for name, module in modules.items()},
        [name for name in modules if model.parts[name].role == "network"],
    )


def check_taken(layers: AttentionLayers, kernel: Kernel, place: Place) -> None:
    """See that each layer is computed by a kernel, and that there are some in the network.

    Args:
        kernel: as it is where it is to run, see `Kernel.on`.
    Raises:
        LdmError: it is not, with the reason.
    """
    for layer in layers.counts:
        if kernel.taker(layer.head_size, layer.mask) is None:
            raise kernel.refusal(
                layer.head_size,
                layer.mask,
                place.device.type,
                dtype_name(place.compute_dtype),
                f" of the {layer.part}",
            )
    if not kernel.native and not any(layers.of(name) for name in layers.networks):
        named = " and ".join(f"{name} ({layers.parts[name]})" for name in layers.networks)
        raise LdmError(
            f"the attention '{kernel.label}' would reach no layer of the network: {named} has none "
            "that ends in torch's scaled_dot_product_attention.",
            "leave the choice to the model: --attention native",
        )


def _torchs(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    return scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)


class _Counting(TorchFunctionMode):
    """Counts the calls of torch's attention in the first call of each part."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[Layer, int] = {}
        self._part = ""
        self._calls: dict[str, int] = {}

    def watch(self, model: Model) -> None:
        """Hear which part computes; the model is nobody else's."""
        for name, part in model.parts.items():
            if is_module(part.module):
                part.module.register_forward_pre_hook(self._begins(name))
                for module in part.module.modules():
                    module.register_forward_pre_hook(self._enters(name))

    def _begins(self, name: str) -> Callable[[nn.Module, Any], None]:
        def hook(module: nn.Module, args: Any) -> None:
            self._calls[name] = self._calls.get(name, 0) + 1

        return hook

    def _enters(self, name: str) -> Callable[[nn.Module, Any], None]:
        def hook(module: nn.Module, args: Any) -> None:
            self._part = name

        return hook

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is scaled_dot_product_attention:
            return by_kernel(self._attend, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
        # an autoencoder decodes by a method, and so is never begun
        if self._calls.get(self._part, 0) <= 1:
            sizes = (q.shape[1], q.shape[-1], q.shape[-2], k.shape[-2])
            layer = Layer(self._part, *sizes, mask_kind(mask))
            self.counts[layer] = self.counts.get(layer, 0) + 1
        return _torchs(q, k, v, mask, scale)
