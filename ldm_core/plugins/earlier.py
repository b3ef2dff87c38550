"""Plugins that were written for the hook API 1: what is done for them, and what is to change.

What can be read as a part of now is read so; what cannot is left out, and its author is told what
to write instead. All of it goes with the release that `ldm_core.plugins.hookspecs.ENDS` names.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ldm_core.contracts import (
    Bound,
    Conditioning,
    Guidance,
    ModelInfo,
    Record,
    Run,
    Scheduler,
)
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.numerics.point import Point
from ldm_core.plugins.hookspecs import API_VERSION, ENDS
from ldm_core.plugins.moved import imports_to_change

if TYPE_CHECKING:
    from torch import Tensor

    from ldm_core.contracts import Evaluation


class Change(NamedTuple):
    """What became of a hook of API 1.

    Attributes:
        works: plugins are used as they are.
        words: what is to change in those that need it; empty where nothing is.
    """

    works: bool = True
    words: str = ""


CHANGES: Mapping[str, Change] = {
    "ldm_guidance": Change(
        words="guidance: derive from ldm_core.contracts.Guidance, call for_model(info) fit(info), "
        "and let bind(run) return a ldm_core.contracts.Bound"
    ),
    "ldm_encoders": Change(
        words="encoder: model.latents_device is what model.device was, and "
        "model.part('autoencoder') has module, device and dtype"
    ),
    "ldm_decoders": Change(
        words="decoder: model.latents_device is what model.device was, and "
        "model.part('autoencoder') has module, device and dtype"
    ),
    "ldm_commands": Change(
        words="command: one that takes **run is marked by ldm_core.run.in_batches.in_batches, "
        "takes **call and yields an Output a batch; results are what a command returns, and "
        "what it prints goes to the standard error stream"
    ),
    "ldm_conditioning": Change(
        words="conditioning: derive from ldm_core.contracts.Conditioning, declare inputs as "
        "ldm_core.contracts.Input(type, default, help=...), call for_model(info) fit(info), and "
        "edit(run) bind(run), which returns ldm_core.contracts.RunHooks",
    ),
    "ldm_families": Change(
        False,
        "family: derive from ldm_core.contracts.Family; ModelInfo takes latents "
        "(ldm_core.contracts.LatentSpace) and default_extent in place of latent_channels, "
        "scale_factor and default_size; a network is a function of one ldm_core.contracts.Call; a "
        "Model has parts (ldm_core.contracts.Part) in place of components; one that derives from "
        "ldm_plugins' DiffusersFolder has describe(folder) in place of inspect, Component(classes, "
        "role) in its components, and build(info, parts, place)",
    ),
}
"""What became of the hooks of API 1; those that are not named take plugins as they are."""


@dataclass(frozen=True)
class Earlier:
    """A module that was written for an earlier hook API.

    Attributes:
        package: with its version.
        module: what the entry point names.
        hooks: those that it implements.
    """

    package: str
    module: object
    hooks: tuple[str, ...]

    @property
    def message(self) -> str:
        """What is to change, all of it."""
        ends = ENDS["hook API 1"]
        changes = [ends.instead, *imports_to_change(self.module)]
        changes += [c.words for hook in self.hooks if (c := CHANGES.get(hook)) and c.words]
        return (
            f"the package {self.package} was written for the hook API 1, which ldm-core "
            f"understands until {ends.gone}, and now is {API_VERSION}. To change: "
            f"{'; '.join(changes)}."
        )

    def refused(self, hook: str) -> str | None:
        """What is to change before plugins of a hook can be used; None where they can."""
        change = CHANGES.get(hook, Change())
        return None if change.works else self.message

    def as_of_now(self, kind: str, part: Any) -> Any:
        """A part as it would be written now.

        Raises:
            LdmError: it cannot be read so.
        """
        if kind == "conditioning" and not isinstance(part, Conditioning):
            raise LdmError(self.message)
        return as_of_now(kind, part)

    def warn(self) -> None:
        """Say so, once in a process."""
        if self.message not in _said:
            _said.add(self.message)
            warnings.warn(LdmWarning(self.message), stacklevel=3)


_said: set[str] = set()


def as_of_now(kind: str, part: Any) -> Any:
    """A part as it would be written now."""
    if kind == "scheduler" and not isinstance(part, Record):
        function = part.func if isinstance(part, partial) else part
        points, fit = getattr(function, "own_grid", None), getattr(function, "for_model", None)
        again = None if fit is None else lambda info: as_of_now(kind, fit(info))
        return Scheduler(part, points=points, fit=again)
    if kind == "guidance" and not isinstance(part, Guidance):
        return EarlierGuidance(part)
    return part


class EarlierGuidance(Guidance):
    """A guidance of hook API 1: any object with ``branches`` and ``combine``.

    Args:
        part: it, which may have ``for_model``, ``bind`` and ``embedded_scale`` too.
    """

    def __init__(self, part: Any) -> None:
        self._part = part

    @property
    def embedded_scale(self) -> float | None:
        scale: float | None = getattr(self._part, "embedded_scale", None)
        return scale

    def fit(self, info: ModelInfo) -> Guidance:
        fit = getattr(self._part, "for_model", None)
        return self if fit is None else as_of_now("guidance", fit(info))

    def branches(self, point: Point) -> tuple[str, ...]:
        branches: tuple[str, ...] = self._part.branches(point)
        return branches

    def combine(self, outputs: Mapping[str, Tensor], at: Evaluation) -> Tensor:
        combined: Tensor = self._part.combine(outputs, at)
        return combined

    def bind(self, run: Run) -> Bound:
        bind = getattr(self._part, "bind", None)
        bound = self._part if bind is None else bind(run)
        if getattr(bound, "networks", None):
            raise LdmError(
                f"{type(self._part).__name__}, a guidance of the hook API 1, asks networks of its "
                f"own, which is not understood any more. {CHANGES['ldm_guidance'].words}."
            )
        return Bound(bound.branches, bound.combine, inputs=getattr(bound, "inputs", {}))
