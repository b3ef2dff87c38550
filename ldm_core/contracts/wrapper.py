"""Wrappers: surround the denoiser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ldm_core.contracts.record import Record, as_record
from ldm_core.numerics.callables import Denoise

Wrap = Callable[..., Denoise]
"""``wrap(denoise) -> denoise``: masks, clipping; the first in a recipe is innermost."""


@dataclass(frozen=True, eq=False)
class Wrapper(Record):
    """What surrounds the denoiser. A plain function becomes one by `as_wrapper`."""

    takes: ClassVar[tuple[str, ...]] = ("denoise",)

    wrap: Wrap

    def __call__(self, denoise: Denoise, **options: Any) -> Denoise:
        return self.wrap(denoise, **options)

    @property
    def function(self) -> Callable[..., Any]:
        return self.wrap

    def with_function(self, function: Callable[..., Any]) -> Wrapper:
        return replace(self, wrap=function)


def as_wrapper(part: Wrapper | Wrap) -> Wrapper:
    """The record of a wrapper; `LdmError` for what cannot be called."""
    return as_record(Wrapper, part, "a wrapper is a function (denoise) -> denoise")
