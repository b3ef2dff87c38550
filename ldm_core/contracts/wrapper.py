"""Wrappers: surround the denoiser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from ldm_core.contracts.record import Record, as_record
from ldm_core.numerics.callables import Denoise

Wrap = Callable[..., Denoise]
"""``wrap(denoise) -> denoise``: masks, clipping; the first in a recipe is innermost."""


@dataclass(frozen=True, eq=False)
class Wrapper(Record):
    """What surrounds the denoiser. A plain function becomes one by `as_wrapper`.

    Attributes:
        neutral: options with which it changes nothing, as `neutral_at` declares them; None where
            there are none, empty where it does not say.
    """

    takes: ClassVar[tuple[str, ...]] = ("denoise",)

    wrap: Wrap
    neutral: Mapping[str, Any] | None = field(default_factory=dict)

    def __call__(self, denoise: Denoise, **options: Any) -> Denoise:
        return self.wrap(denoise, **options)

    @property
    def function(self) -> Callable[..., Any]:
        return self.wrap

    def with_function(self, function: Callable[..., Any]) -> Wrapper:
        return replace(self, wrap=function)


def neutral_at(**options: Any) -> Callable[[Wrapper | Wrap], Wrapper]:
    """Say with which options a wrapper changes nothing, such as ``strength=0.0``."""
    return lambda wrap: replace(as_wrapper(wrap), neutral=options)


def as_wrapper(part: Wrapper | Wrap) -> Wrapper:
    """The record of a wrapper; `LdmError` for what cannot be called."""
    return as_record(Wrapper, part, "a wrapper is a function (denoise) -> denoise")
