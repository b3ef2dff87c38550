"""Weights where their parts compute.

A model that was read for an offloading pipeline has weights that lie elsewhere; another pipeline
made of it, which does not offload, needs copies of them on the device.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from ldm_core.contracts import Model, Part, PartInfo
from ldm_core.model.modules import movable_copy

if TYPE_CHECKING:
    import torch


def at_home(model: Model) -> Model:
    """The model with the weights of each part where that computes, but for those that a placement
    brings there; the model itself where all are there already."""
    changes = {
        name: other
        for name, part in model.parts.items()
        if (other := part_at_home(part)) is not part
    }
    reads_to = model.place.reads_to(PartInfo("", "", "side"))
    if not changes and reads_to is None:
        return model
    place = replace(model.place, later=(*model.place.later, part_at_home))
    return model.replaced(changes, place)


def part_at_home(part: Part) -> Part:
    """The part with weights where it computes: the part itself, or one with a copy of them."""
    import torch

    module = part.module
    if part.beneath is not None or not isinstance(module, torch.nn.Module):
        return part
    tensors = chain(module.parameters(), module.buffers())
    if all(same_device(tensor.device, part.device) for tensor in tensors):
        return part
    return replace(part, module=movable_copy(module).to(part.device))


def same_device(one: torch.device, other: torch.device) -> bool:
    """Whether two names mean one device, such as cuda and cuda:0; a tensor without data lies
    nowhere, and so on every one."""
    if "meta" in (one.type, other.type):
        return True
    return one.type == other.type and (one.index or 0) == (other.index or 0)
