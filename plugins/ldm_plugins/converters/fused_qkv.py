"""Queries, keys and values by one product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ldm_core.contracts import Converter, ModelInfo, Part, Phase, PlaceNames, Run, RunHooks
from ldm_core.errors import LdmError
from ldm_core.model.modules import shallow_copy
from ldm_plugins.converters.lora import WithLoras
from ldm_plugins.converters.quantize import Quantize
from ldm_plugins.converters.shared.processor import is_cuda_in_half
from ldm_plugins.converters.shared.together import check_once
from ldm_plugins.converters.shared.watched_weights import Originals
from ldm_plugins.shared.classes import find_class
from ldm_plugins.shared.quiet import quiet


def fused_qkv() -> Converter:
    """Compute queries, keys and values of self-attention by one matrix product, and keys and values
    of cross-attention by one, in place of one each.

    What is drawn is the same but for rounding. It is Diffusers' ``fuse_qkv_projections``, on a copy
    of the network with more weights of those layers. The layers of an image prompt take the place
    of fused ones. Where the weights that were joined are changed afterwards, a run says so.
    """
    return FusedQkv()


@dataclass(frozen=True)
class FusedQkv(Converter):
    """Fuses projections in a copy of the network.

    It names no speed-up: on a processor it takes as long as without, and of CUDA nothing is
    published that it saves by itself.

    Attributes:
        originals: of which it fused the weights.
    """

    originals: Originals = field(
        default_factory=partial(Originals, "fused_qkv"), repr=False, compare=False
    )
    phase = Phase.LAYOUT
    lossless = True

    def beside(self, others: Sequence[Converter]) -> None:
        check_once("fused_qkv", self, others)
        for other in others:
            if isinstance(other, WithLoras):
                raise LdmError(
                    "fused_qkv puts one matrix in the place of those that a LoRA changes, which "
                    "would then do nothing; leave one of the two out."
                )
            if isinstance(other, Quantize) and {*other.parts} - {"text", "autoencoder"}:
                raise LdmError(
                    "fused_qkv joins plain weights, and quantize keeps them in fewer bits; leave "
                    "one of the two out."
                )

    def fit(self, info: ModelInfo, place: PlaceNames) -> Converter:
        narrow = place.dtype not in ("auto", "float32") and not is_cuda_in_half(place)
        if narrow and place.compute_dtype in ("auto", "float32"):
            raise LdmError(
                f"fused_qkv joins weights that are computed with as they are, and the recipe keeps "
                f"them in {place.dtype} to compute in float32.",
                f"compute_dtype = '{place.dtype}', or leave the dtype out.",
            )
        return replace(self, originals=Originals("fused_qkv"))

    def prepare(self, info: ModelInfo) -> None:
        for part in info.parts:
            if part.role == "network":
                _check(find_class(part.cls), info.source)

    def part(self, part: Part) -> Part:
        if part.role != "network":
            return part
        _check(type(part.module), "")
        copied: Any = shallow_copy(part.module)
        try:
            with quiet("fused_qkv"):
                copied.fuse_qkv_projections()
        except ValueError as error:
            raise LdmError(f"fused_qkv does not fit the model: {error}") from None
        self.originals.note(part.module)
        return replace(part, module=copied.eval().requires_grad_(False))

    def bind(self, run: Run) -> RunHooks:
        self.originals.check()
        return RunHooks()


READ = (
    "AuraFlowTransformer2DModel",
    "ChromaTransformer2DModel",
    "CogVideoXTransformer3DModel",
    "Flux2Transformer2DModel",
    "FluxTransformer2DModel",
    "PixArtTransformer2DModel",
    "SD3Transformer2DModel",
    "UNet2DConditionModel",
    "UNetMotionModel",
    "WanTransformer3DModel",
)
"""Classes whose attention was seen to use fused projections. Diffusers makes them for others too,
which go on with those that they had."""


def _check(cls: Any, source: str) -> None:
    """See that Diffusers can fuse the projections of a class of networks.

    Raises:
        LdmError: it cannot, or the network would not use them.
    """
    whose = f" of '{source}'" if source else ""
    try:
        _ = cls.fuse_qkv_projections
    except AttributeError:
        raise LdmError(
            f"Diffusers cannot fuse the projections of a {cls.__name__}, which the network{whose} "
            "is; leave fused_qkv out."
        ) from None
    if not any(base.__name__ in READ for base in cls.__mro__):
        raise LdmError(
            f"the attention of a {cls.__name__}, which the network{whose} is, is not known to use "
            "fused projections, so that fused_qkv would do nothing; leave it out.",
            f"it acts on {', '.join(READ)}.",
        )
