"""A converter: a network with fewer weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ldm_core.contracts import Converter, Part, Phase

if TYPE_CHECKING:
    from torch import nn


def pruned(*, share: Annotated[float, Field(ge=0, lt=1)] = 0.2) -> Converter:
    """Set the smallest weights of each linear layer of the network to zero (Han et al. 2015,
    arXiv:1506.02626, Section 3).

    Args:
        share: of the weights; 0 changes nothing.
    """
    return Pruned(share)


class Pruned(Converter):
    """A share of the weights is zero; the other model's stay as they are."""

    phase = Phase.LAYOUT
    lossless = False

    def __init__(self, share: float) -> None:
        self.share = share

    def part(self, part: Part) -> Part:
        return part.altered(self._thinned) if part.role == "network" and self.share else part

    def _thinned(self, network: nn.Module) -> nn.Module:
        import torch

        from ldm_core.model.modules import shallow_copy

        copy = shallow_copy(network)
        for layer in copy.modules():
            if type(layer) is torch.nn.Linear:
                size = layer.weight.abs()
                few = int(self.share * size.numel())
                if few:
                    least = size.flatten().float().kthvalue(few).values
                    kept = layer.weight * (size > least)
                    layer.weight = torch.nn.Parameter(kept, requires_grad=False)
        return copy
