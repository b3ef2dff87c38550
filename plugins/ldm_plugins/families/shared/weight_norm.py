"""Layers whose weights are a direction and a length (Salimans & Kingma 2016, arXiv:1602.07868)."""

from __future__ import annotations

from ldm_core.contracts import Part


def with_plain_weights(part: Part) -> Part:
    """The part with each such weight computed once, as it is in training at every call: weights
    that are made of others can be neither copied nor brought elsewhere by themselves."""
    from torch import nn
    from torch.nn.utils import remove_weight_norm

    for module in list(part.module.modules()):
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d) and "weight_g" in module._parameters:
            remove_weight_norm(module)
            module.requires_grad_(False)
    return part
