"""Whether modules still have the weights that they had."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from operator import attrgetter, is_
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ldm_core.errors import LdmError

if TYPE_CHECKING:
    from torch import nn

_version = attrgetter("_version")


class WatchedWeights:
    """The layers and tensors of modules as they are when this is made.

    What is written through ``.data``, or to a tensor that was made in inference mode, is not seen:
    torch counts no such writes. Tensors on ``meta`` stand for numbers that are elsewhere, and are
    taken for one another.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        from torch import Tensor

        layers = chain.from_iterable(module.modules() for module in modules)
        self._held: list[dict[str, Any]] = [
            own for layer in layers for own in (layer._modules, layer._parameters, layer._buffers)
        ]
        self._values = self._now()
        self._counted = [
            value
            for value in self._values
            if isinstance(value, Tensor) and not value.is_inference()
        ]
        self._versions = [*map(_version, self._counted)]

    @property
    def changed(self) -> bool:
        """Whether a tensor was written to, or something was put in another's place. Takes tens of
        microseconds for a large network."""
        now = self._now()
        same = len(now) == len(self._values) and (
            all(map(is_, now, self._values)) or all(map(_alike, now, self._values))
        )
        return not same or [*map(_version, self._counted)] != self._versions

    def _now(self) -> list[Any]:
        return [*chain.from_iterable(map(dict.values, self._held))]


class Addresses:
    """Where in memory the tensors of a module lie, as it is when this is made: what a program that
    reads them there, and no others, depends on. What is written into them is no change."""

    def __init__(self, module: nn.Module) -> None:
        self._held = [
            own for layer in module.modules() for own in (layer._modules, *_tensors_of(layer))
        ]
        self._values = self._now()
        tensors = _plain_tensors(self._values)
        self._plain = [tensor for tensor in tensors if not tensor.is_meta]
        self._at = [*map(_address, self._plain)]

    @property
    def changed(self) -> bool:
        """Whether something was put in the place of a tensor or layer, or a tensor lies elsewhere.
        Takes tens of microseconds for a large network."""
        now = self._now()
        same = len(now) == len(self._values) and all(map(is_, now, self._values))
        return not same or [*map(_address, self._plain)] != self._at

    def _now(self) -> list[Any]:
        return [*chain.from_iterable(map(dict.values, self._held))]


class Originals:
    """The modules of which a converter keeps weights in another form, by copies of its own: what is
    written to the originals later, or put in their place, does not reach the copies.

    Args:
        name: of the converter, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._were: WeakKeyDictionary[nn.Module, list[tuple[dict[str, Any], list[Any]]]]
        self._were = WeakKeyDictionary()

    def note(self, module: nn.Module) -> None:
        """Keep how one is that has just been copied."""
        self._were[module] = [
            (layer._parameters, [*map(_state, layer._parameters.values())])
            for layer in module.modules()
            if layer._parameters
        ]

    def check(self) -> None:
        """See that they are as they were.

        Raises:
            LdmError: a weight of one was written to, or another put in its place.
        """
        for module, layers in [*self._were.items()]:
            if any([*map(_state, now.values())] != were for now, were in layers):
                raise LdmError(
                    f"weights of the {type(module).__name__} were changed after '{self._name}' "
                    "made its own of them, which are as before.",
                    "make the pipeline anew of the changed model: leave the converter out by "
                    f"replace(), and name '{self._name}' again.",
                )


def _state(tensor: Any) -> tuple[int, int]:
    """Which tensor it is, and how often it was written to."""
    counted = tensor is not None and not tensor.is_inference()
    return id(tensor), tensor._version if counted else 0


def _tensors_of(layer: nn.Module) -> tuple[dict[str, Any], dict[str, Any]]:
    return layer._parameters, layer._buffers


def _plain_tensors(values: Iterable[Any]) -> list[Any]:
    from torch import Tensor

    from ldm_core.model.loading import unpacked

    tensors = [value for value in values if isinstance(value, Tensor)]
    return [plain for tensor in tensors for plain in unpacked("", tensor).values()]


def _address(tensor: Any) -> int:
    return int(tensor.data_ptr())


def _alike(one: Any, other: Any) -> bool:
    from torch import Tensor

    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one is other or (one.is_meta and other.is_meta)
    return one is other
