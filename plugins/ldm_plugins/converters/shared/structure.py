"""What a module computes, but for the numbers in its weights, as one line of text."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping
from enum import Enum
from inspect import getmodule, ismethod
from types import BuiltinFunctionType, FunctionType, MemberDescriptorType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

SILENT = frozenset(
    {
        *("_version", "_is_full_backward_hook", "training", "_name_or_path"),
        "_use_default_values",  # in an order that is another in each process
    }
)
"""What is kept of a module, or of its config, that says nothing of what it computes."""
LOOKS_ON = "transformers.utils.output_capturing"
"""Where hooks come from that change nothing."""


class UnknownError(Exception):
    """A module has something of which it cannot be told what it does."""


def structure(module: nn.Module) -> str:
    """A hash of classes, settings, and the shapes of weights, of a module and all in it.

    Two modules of one structure, with the same weights, compute the same.

    Raises:
        UnknownError: it has a function that was made while running, a hook, or the like.
    """
    digest = hashlib.sha256()
    for line in _lines(module, "", set()):
        digest.update(line.encode())
        digest.update(b"\n")
    return digest.hexdigest()


def contents(tensors: Mapping[str, Tensor]) -> str:
    """A hash of the numbers in some tensors, by name."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        whole = tensor.detach().contiguous()
        if whole.numel():
            numbers: Any = whole.view(-1).view(torch.uint8).numpy()
            digest.update(numbers)
    return digest.hexdigest()


def is_altered(module: nn.Module) -> bool:
    """Whether some layer does something else than its class says, as hooks make it."""
    return any(
        not (ismethod(layer.forward) and layer.forward.__func__ is type(layer).forward)
        or any(_hooks(layer))
        for layer in module.modules()
    )


def _hooks(layer: nn.Module) -> list[Any]:
    """What is called before or after a layer, but for what Transformers puts there at the first
    call, which looks on."""
    hooks = [*layer._forward_pre_hooks.values(), *layer._forward_hooks.values()]
    modules = [(hook, getmodule(hook)) for hook in hooks]
    return [hook for hook, home in modules if home is None or home.__name__ != LOOKS_ON]


def _lines(value: Any, path: str, above: set[int]) -> Iterable[str]:
    import torch
    from torch import Tensor, nn

    if value is None or isinstance(value, bool | int | float | complex | str | bytes | Enum):
        yield f"{path} {value!r}"
    elif isinstance(value, torch.dtype | torch.device | torch.Size | range | slice):
        yield f"{path} {value}"
    elif isinstance(value, Tensor):
        own = "" if isinstance(value, nn.Parameter) else contents({"": value})
        yield f"{path} {type(value).__name__} {value.dtype} {tuple(value.shape)} {own}"
    elif isinstance(value, type | FunctionType | BuiltinFunctionType):
        if isinstance(value, FunctionType) and value.__closure__:
            raise UnknownError(f"{path} is a function that was made while running")
        yield f"{path} {_named(value, path)}"
    elif id(value) in above:
        yield f"{path} is around itself"
    else:
        yield from _inner(value, path, {*above, id(value)})


def _inner(value: Any, path: str, above: set[int]) -> Iterable[str]:
    from torch import nn

    if isinstance(value, nn.Module):
        yield f"{path} {_named(type(value), path)}"
        if any(_hooks(value)):
            raise UnknownError(f"{path or 'the module'} has a hook")
        for name, tensor in (*value._parameters.items(), *value._buffers.items()):
            yield f"{path}.{name} {None if tensor is None else (tensor.dtype, *tensor.shape)}"
        for name, module in value._modules.items():
            yield from _lines(module, f"{path}.{name}", above)
        others = {
            name: entry
            for name, entry in vars(value).items()
            if name not in ("_parameters", "_buffers", "_modules") and "_hooks" not in name
        }
        yield from _lines(others, f"{path}:", above)
    elif isinstance(value, Mapping):
        for name, entry in value.items():
            if name not in SILENT:
                yield from _lines(entry, f"{path}[{name!r}]", above)
    elif isinstance(value, list | tuple):
        for number, entry in enumerate(value):
            yield from _lines(entry, f"{path}[{number}]", above)
    elif isinstance(value, set | frozenset):
        yield f"{path} {sorted(map(repr, value))}"
    else:
        cls = type(value)
        ours = cls.__module__.partition(".")[0] not in sys.stdlib_module_names
        members = (member for base in cls.__mro__ for member in vars(base).values())
        if not ours or any(isinstance(member, MemberDescriptorType) for member in members):
            raise UnknownError(f"{path} is a {cls.__name__}")
        yield f"{path} {_named(cls, path)}"
        yield from _lines(vars(value), f"{path}:", above)


def _named(thing: Any, path: str) -> str:
    """The name of a class or function by which anyone can import it."""
    name = f"{thing.__module__}.{thing.__qualname__}"
    if "<" in name:
        raise UnknownError(f"{path} is {name}, which was made while running")
    return name
