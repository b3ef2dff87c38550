"""Convolutions with the channels of a place side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ldm_core.contracts import (
    Converter,
    Model,
    ModelInfo,
    Part,
    Phase,
    PlaceNames,
    Run,
    RunHooks,
    Speedup,
)
from ldm_core.errors import LdmError
from ldm_core.model.modules import movable_copy
from ldm_plugins.converters.quantize import Quantize
from ldm_plugins.converters.shared.processor import is_cuda_in_half
from ldm_plugins.converters.shared.together import check_once
from ldm_plugins.converters.shared.watched_weights import Originals
from ldm_plugins.shared.networks import is_unet, network_config

WHY = "Diffusers documents 3.30 s in place of 3.61 for Stable Diffusion in float16 on a Titan RTX"
ROLES = ("network", "autoencoder", "decoder", "side")


def channels_last() -> Converter:
    """Lay out the weights of two-dimensional convolutions with the channels last, in copies of the
    network, side networks and autoencoder; what they compute is then laid out so too.

    What is drawn is the same but for rounding. Transformers have no such convolutions but for one
    at their start; with them it acts on the autoencoder. Where the weights that were copied are
    changed afterwards, a run says so.
    """
    return ChannelsLast()


@dataclass(frozen=True)
class ChannelsLast(Converter):
    """Makes copies of weights in another layout; all others are shared.

    Attributes:
        originals: of which it copied weights.
    """

    originals: Originals = field(
        default_factory=partial(Originals, "channels_last"), repr=False, compare=False
    )
    phase = Phase.LAYOUT
    lossless = True

    def fit(self, info: ModelInfo, place: PlaceNames) -> Converter:
        narrow = place.dtype not in ("auto", "float32") and not is_cuda_in_half(place)
        if narrow and place.compute_dtype in ("auto", "float32"):
            raise LdmError(
                f"channels_last lays out weights that are computed with as they are, and the "
                f"recipe keeps them in {place.dtype} to compute in float32.",
                f"compute_dtype = '{place.dtype}', or leave the dtype out.",
            )
        return replace(self, originals=Originals("channels_last"))

    def speedups(self, info: ModelInfo, place: PlaceNames) -> Sequence[Speedup]:
        """Of UNets on CUDA, as is published; no card measured it here. On a processor it takes as
        long as without."""
        config = network_config(info)
        if config is None or not is_unet(config) or not is_cuda_in_half(place):
            return ()
        return (Speedup({}, None, WHY),)

    def beside(self, others: Sequence[Converter]) -> None:
        check_once("channels_last", self, others)
        for other in others:
            if isinstance(other, Quantize) and {*other.parts} - {"text"}:
                raise LdmError(
                    "channels_last lays out plain weights, and quantize keeps them in fewer bits; "
                    "leave one of the two out."
                )

    def convert(self, model: Model) -> Model:
        other = super().convert(model)
        if all(other.parts[name].module is part.module for name, part in model.parts.items()):
            raise LdmError(
                f"the model '{model.info.source}' (family {model.info.family}) has no "
                "two-dimensional convolutions for channels_last."
            )
        return other

    def part(self, part: Part) -> Part:
        import torch

        if part.role not in ROLES or not isinstance(part.module, torch.nn.Module):
            return part
        if not any(map(_is_convolution, part.module.modules())):
            return part
        copied: Any = movable_copy(part.module)
        for layer in copied.modules():  # a video's autoencoder has some over frames too
            convolution: Any = layer
            if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
                convolution.to(memory_format=torch.channels_last)
        self.originals.note(part.module)
        return replace(part, module=copied)

    def bind(self, run: Run) -> RunHooks:
        self.originals.check()
        return RunHooks()


def _is_convolution(layer: Any) -> bool:
    """Whether it is one over rows and columns that is larger than a patch's projection."""
    from torch import nn

    return isinstance(layer, nn.Conv2d) and layer.stride != layer.kernel_size
