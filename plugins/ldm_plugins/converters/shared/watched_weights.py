"""Whether modules still have the weights that they had."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from operator import attrgetter, is_
from typing import TYPE_CHECKING, Any

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


def _alike(one: Any, other: Any) -> bool:
    from torch import Tensor

    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one is other or (one.is_meta and other.is_meta)
    return one is other
