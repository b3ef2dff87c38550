"""Wrappers: surround the denoiser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from ldm_core.contracts.record import Record, as_record
from ldm_core.contracts.run import Run
from ldm_core.errors import PartError
from ldm_core.numerics.callables import Denoise
from ldm_core.values import brief

Wrap = Callable[..., Denoise]
"""``wrap(denoise) -> denoise``: masks, clipping; the first in a recipe is innermost. One that sees
the run takes it too: ``wrap(denoise, run)``, see `ldm_core.contracts.sees_run`."""


@dataclass(frozen=True, eq=False)
class Wrapper(Record):
    """What surrounds the denoiser. A plain function becomes one by `as_wrapper`.

    ``wrap`` is called once for each walk of a run, so that what it keeps in between belongs to
    that walk alone: once for each batch of images, unless a run is walked in parts. The denoiser
    that it returns is called once for each evaluation, which may be several between two points of
    the grid, also at points that are none of the grid's.

    Attributes:
        sees_run: it is also given the `Run`: seeds, inputs, grid, model.
        neutral: options with which it changes nothing, as `neutral_at` declares them; None where
            there are none, empty where it does not say.
    """

    takes: ClassVar[tuple[str, ...]] = ("denoise",)

    wrap: Wrap
    sees_run: bool = False
    neutral: Mapping[str, Any] | None = field(default_factory=dict)

    def __call__(self, denoise: Denoise, *run: Run, **options: Any) -> Denoise:
        return self.wrap(denoise, *run, **options)

    @property
    def arguments(self) -> tuple[str, ...]:
        return (*self.takes, "run") if self.sees_run else self.takes

    @property
    def function(self) -> Callable[..., Any]:
        return self.wrap

    def with_function(self, function: Callable[..., Any]) -> Wrapper:
        return replace(self, wrap=function)

    def surround(self, denoise: Denoise, run: Run) -> Denoise:
        """The denoiser of a run with this around it.

        Raises:
            PartError: the wrapper gives something else.
        """
        outer = self.wrap(denoise, run) if self.sees_run else self.wrap(denoise)
        if not callable(outer):
            raise PartError(self, f"a wrapper of the denoiser gave {brief(outer)}, no denoiser.")
        return outer


def neutral_at(**options: Any) -> Callable[[Wrapper | Wrap], Wrapper]:
    """Say with which options a wrapper changes nothing, such as ``strength=0.0``."""
    return lambda wrap: replace(as_wrapper(wrap), neutral=options)


def as_wrapper(part: Wrapper | Wrap) -> Wrapper:
    """The record of a wrapper; `LdmError` for what cannot be called."""
    return as_record(Wrapper, part, "a wrapper is a function (denoise) -> denoise")
