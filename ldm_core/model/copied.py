"""Copies of modules that share tensors with their originals, and tensors that are put in the place
of those of the originals later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from itertools import chain
from operator import is_
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ldm_core.errors import LdmError

if TYPE_CHECKING:
    from torch import nn

    from ldm_core.contracts import Part

Own = dict[str, Any]
"""What a layer has by name: its layers, its parameters, or its buffers."""


class Copied:
    """What a copy has of its original, as it is when this is made.

    Args:
        copies: the copy of each object of the original, by its id.
    """

    def __init__(self, original: nn.Module, copies: Mapping[int, Any]) -> None:
        self._name = type(original).__name__
        self._before = _COPIED.get(original)
        layers = ((layer, copies.get(id(layer))) for layer in original.modules())
        pairs = [(layer, copy) for layer, copy in layers if copy not in (None, layer)]
        self._held: list[tuple[Own, Own | None, Set[str]]] = []
        for layer, copy in pairs:
            self._held.append((layer._parameters, copy._parameters, frozenset()))
            self._held.append((layer._buffers, copy._buffers, layer._non_persistent_buffers_set))
            self._held.append((layer._modules, None, frozenset()))
        self._held = [held for held in self._held if held[0]]
        self._watched = [own for own, _, _ in self._held]
        self._then = [dict(own) for own in self._watched]
        self._values = self._now()

    def follow(self) -> None:
        """Put into the copy what was put in the place of tensors of the original since. What is
        written to a tensor is in both at once, where the copy has that very tensor.

        Raises:
            LdmError: the copy has tensors of its own there, or layers of the original are others.
        """
        if self._before is not None:
            self._before.follow()
        now = self._now()
        if len(now) == len(self._values) and all(map(is_, now, self._values)):
            return
        for (own, copy, unsaved), then in zip(self._held, self._then, strict=True):
            for name in own.keys() | then.keys():
                value, was = own.get(name), then.get(name)
                if value is was or (_is_meta(value) and _is_meta(was)):
                    continue
                if copy is None:
                    raise self._refusal("layers")
                if value is not None and copy.get(name) is value:  # another thread saw to it
                    continue
                if value is not None and was is not None and copy.get(name) is was:
                    copy[name] = value
                elif name not in unsaved:  # as what a layer computes once and keeps
                    raise self._refusal("weights")
        self._then = [dict(own) for own in self._watched]
        self._values = now

    def _now(self) -> list[Any]:
        return [*chain.from_iterable(map(dict.values, self._watched))]

    def _refusal(self, what: str) -> LdmError:
        return LdmError(
            f"{what} of the {self._name} were changed after a converter made its own of them, "
            "which are as before.",
            "make the pipeline anew of the changed model: leave its converters out by replace(), "
            "and name them again.",
        )


_COPIED: WeakKeyDictionary[nn.Module, Copied] = WeakKeyDictionary()


def note_copy(original: nn.Module, copies: Mapping[int, Any]) -> None:
    """Keep of which original a module is a copy.

    Args:
        copies: the copy of each object of the original, by its id.
    """
    _COPIED[copies[id(original)]] = Copied(original, copies)


def follow_originals(parts: Iterable[Part]) -> None:
    """Have parts whose modules are copies compute with what stands in their originals now. Takes
    tens of microseconds for a large network.

    Raises:
        LdmError: they cannot.
    """
    for part in parts:
        under: Part | None = part
        while under is not None:
            copied = _COPIED.get(under.module) if _is_module(under.module) else None
            if copied is not None:
                copied.follow()
            under = under.beneath


def _is_module(module: Any) -> bool:
    from torch import nn

    return isinstance(module, nn.Module)


def _is_meta(value: Any) -> bool:
    """Whether a tensor stands for numbers that are elsewhere, as offloading leaves it."""
    from torch import Tensor

    return isinstance(value, Tensor) and value.is_meta
