"""Weights kept in half precision and computed with in float32."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ldm_core.contracts import Converter, Model, ModelInfo, Part, Phase, PlaceNames
from ldm_core.errors import LdmError

if TYPE_CHECKING:
    from torch import Tensor


def stored_weights() -> Converter:
    """Compute in float32 with weights that are kept in half precision, a layer's at a time.

    What is drawn is what float32 arithmetic gives on the same weights, in about half the memory. It
    acts by itself where ``dtype`` is a half precision and ``compute_dtype`` is float32, which
    ``auto`` is on a CPU.
    """
    return StoredWeights()


class StoredWeights(Converter):
    """Puts weights that are widened when an operation asks for them in the place of narrow ones."""

    phase = Phase.LAYOUT
    lossless = True

    def fit(self, info: ModelInfo, place: PlaceNames) -> Converter:
        if place.compute_dtype not in ("auto", "float32"):
            raise LdmError(
                "the converter 'stored_weights' computes in float32, and the compute_dtype is "
                f"{place.compute_dtype}; leave one of them out."
            )
        return self

    def convert(self, model: Model) -> Model:
        same = model.place.compute_dtype == model.place.dtype
        return model if same else super().convert(model)

    def part(self, part: Part) -> Part:
        import torch

        from ldm_core.model.stored_weight import stored

        module = part.module
        if not isinstance(module, torch.nn.Module) or not any(map(_narrow, module.parameters())):
            return part
        return replace(part, module=stored(module, torch.float32), dtype=torch.float32)


def _narrow(weight: Tensor) -> bool:
    """Whether a weight is kept in less than float32."""
    return weight.is_floating_point() and weight.itemsize < 4
