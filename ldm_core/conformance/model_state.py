"""What of a model's modules could be changed in place, to see that nothing was."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ldm_core.contracts import Model

State = dict[str, Any]
"""By module or tensor, what could be changed of it."""


def model_state(model: Model) -> State:
    """Of each module its class, what is set on it and its hooks; of each tensor where it lies, its
    layout and what its numbers come to."""
    state: State = {}
    for name, part in model.parts.items():
        if not isinstance(part.module, nn.Module):
            continue
        for inner, module in part.module.named_modules():
            hooks = {k: len(v) for k, v in vars(module).items() if k.endswith("_hooks") and v}
            names = sorted(k for k in vars(module) if not k.startswith("_"))
            own = (type(module).__name__, names, hooks, module.training)
            state[f"the module {name}.{inner}".rstrip(".")] = own
        tensors = {**dict(part.module.named_parameters()), **dict(part.module.named_buffers())}
        for inner, tensor in tensors.items():
            state[f"the weights {name}.{inner}"] = _of_tensor(tensor)
    return state


def _of_tensor(tensor: torch.Tensor) -> tuple[Any, ...]:
    if type(tensor) not in (torch.Tensor, nn.Parameter) or tensor.is_meta:
        return (id(tensor), type(tensor).__name__)
    numbers = tensor.detach().double()
    waves = torch.arange(numbers.numel(), dtype=torch.float64, device=numbers.device).cos()
    comes_to = float((numbers.reshape(-1) * waves).sum())
    place = (id(tensor), tensor.data_ptr(), tensor.stride(), str(tensor.dtype))
    return (*place, tensor.requires_grad, comes_to)


def differences(before: State, after: State) -> list[str]:
    """What changed, in words."""
    names = sorted(before.keys() | after.keys())
    return [name for name in names if before.get(name) != after.get(name)]
