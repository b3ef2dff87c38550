"""Whether a part left the model that it was given as it was, which others share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ldm_core.contracts import Conditioning, Converter, Model
from ldm_core.errors import PartError
from ldm_core.plugins.owners import Owners
from ldm_core.run.checksum import checksum

PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device)


class Unchanged:
    """A model as it is now: its modules, their classes, what is set on them, their hooks, and all
    numbers of the tensors that they hold, which are read once, as a step of a network does.

    Args:
        model: that a converter or a conditioning is about to be given.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._held: list[Any] = []  # so that nothing else has its id meanwhile
        self._before = _state(model, self._held)

    def check(self, part: Converter | Conditioning) -> None:
        """See that it is as it was.

        Raises:
            PartError: it is not.
        """
        after = _state(self._model, [])
        names = [name for name in self._before if after.get(name) != self._before[name]]
        names += [name for name in after if name not in self._before]
        if names:
            more = f" and {len(names) - 1} more" if names[1:] else ""
            kind = "converter" if isinstance(part, Converter) else "conditioning"
            raise PartError(
                part,
                f"a {kind} makes another model and leaves the one that it is given, which other "
                f"pipelines may share, and it changed {names[0]}{more} of that one in place.",
            )


@contextmanager
def unchanged(model: Model, part: Conditioning, owners: Owners, doing: str) -> Iterator[None]:
    """See that a conditioning of another package which adapts a model leaves it as it was.

    Raises:
        PluginError: it does not.
    """
    adapts = type(part).adapt is not Conditioning.adapt
    given = Unchanged(model) if adapts and not owners.is_ours(part) else None
    yield
    if given is not None:
        with owners.blamed(part, doing):
            given.check(part)


def _state(model: Model, held: list[Any]) -> dict[str, Any]:
    """By module or tensor, what could be changed of it.

    Args:
        held: takes what is known by its id.
    """
    state: dict[str, Any] = {}
    for name, part in model.parts.items():
        if not isinstance(part.module, nn.Module):
            continue
        for inner, module in part.module.named_modules():
            own = vars(module)
            hooks = [len(hooks) for kind, hooks in own.items() if kind.endswith("_hooks")]
            values = {key: _of_value(value) for key, value in own.items() if key[:1] != "_"}
            held += (module, type(module), *own.values())
            known = (id(module), type(module), sum(hooks), values)
            state[f"the module {name}.{inner}".rstrip(".")] = known
        for inner, tensor in (*part.module.named_parameters(), *part.module.named_buffers()):
            state[f"the weights {name}.{inner}"] = _of_tensor(tensor)
    return state


def _of_value(value: Any) -> Any:
    """What is compared of something that is set on a module: a plain value, or which thing it is.
    Also of a list, which may be written into."""
    if type(value) in PLAIN:
        return repr(value)  # nan equals nan so
    if type(value) in (list, tuple):
        return type(value), [_of_value(one) for one in value]
    return id(value)


def _of_tensor(tensor: Tensor) -> tuple[Any, ...]:
    plain = type(tensor) in (Tensor, nn.Parameter) and tensor.layout is torch.strided
    if not plain or tensor.is_meta or not tensor.numel():
        return (id(tensor),)
    written = 0 if tensor.is_inference() else tensor._version
    return (id(tensor), written, tensor.dtype, tensor.device, checksum(tensor))
