"""What another package's converter made of a model's parts: seen to be such as can be computed, and
kept in mind as that converter's."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from weakref import WeakKeyDictionary

import torch
from torch import nn

from ldm_core.contracts import Converter, Model, ModelInfo, Part, Place
from ldm_core.errors import PartError
from ldm_core.values import brief

_WHOSE: MutableMapping[Part, str] = WeakKeyDictionary()


def note_converted(made: Model, given: Model, whose: str) -> None:
    """Keep whose converter made those parts of a model that are not as they were.

    Args:
        whose: the converter and its package, in words.
    """
    for name, part in made.parts.items():
        if part is not given.parts.get(name) and isinstance(part.module, nn.Module):
            _WHOSE[part] = whose


def converted_by(part: Part) -> str | None:
    """Whose converter left a part as it is, in words; None where no other package's did."""
    return _WHOSE.get(part) if isinstance(part.module, nn.Module) else None


def check_converted(made: Model, model: Model, part: Converter) -> None:
    """See that what a converter made of a model is one that can be computed.

    Raises:
        PartError: it is not.
    """
    if not callable(made.network):
        raise PartError(part, f"a model's network is called, and it gave {brief(made.network)}.")
    kept = isinstance(made.abilities, Mapping) and made.abilities.keys() >= model.abilities.keys()
    if not (kept and isinstance(made.info, ModelInfo) and isinstance(made.place, Place)):
        what = "a converter keeps what a model says of itself, its place and its abilities"
        raise PartError(part, f"{what}, and it gave another of them.")
    for name, was in model.parts.items():
        now = made.parts.get(name)
        if not isinstance(now, Part) or now.module is None:
            gone = now.module if isinstance(now, Part) else now
            raise PartError(part, f"a converter keeps each part, and of '{name}' it left {gone}.")
        if now.role != was.role:
            what = f"a converter keeps the role of each part, '{was.role}' of '{name}'"
            raise PartError(part, f"{what}, and it gave it the role {brief(now.role)}.")
        if not now.dtype.is_floating_point:
            what = f"a part computes in floating point, and '{name}' is to in"
            raise PartError(part, f"{what} {str(now.dtype).removeprefix('torch.')}.")
        if now.device.type == "meta":
            raise PartError(part, f"a part computes on a device, and '{name}' is to on 'meta'.")
        if now is not was and now.beneath is None and isinstance(now.module, nn.Module):
            _check_weights(now, name, part)


def _check_weights(now: Part, name: str, part: Converter) -> None:
    """See that a part's weights are of a type that it computes in: they may be kept smaller, or on
    no device, and brought where and to what they are used in."""
    weights = [*now.module.parameters()]
    sizes = [weight.dtype for weight in weights if weight.dtype.is_floating_point]
    wide = torch.float64
    if sizes and (now.dtype is wide) is not (wide in sizes):
        words = [str(dtype).removeprefix("torch.") for dtype in (now.dtype, max(sizes, key=_bytes))]
        what = f"'{name}' is to compute in {words[0]}, and it left its weights in {words[1]}"
        raise PartError(part, f"a part computes in the type of its weights: {what}.")


def _bytes(dtype: torch.dtype) -> int:
    return dtype.itemsize
