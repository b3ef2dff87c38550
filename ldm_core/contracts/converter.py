"""Converters: make another model of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Any

from ldm_core.contracts.attention import Kernel
from ldm_core.contracts.family import Model, ModelInfo
from ldm_core.contracts.place import Part, PartInfo
from ldm_core.contracts.record import as_instance
from ldm_core.contracts.run import Run, RunHooks
from ldm_core.contracts.scheduler import Scheduler
from ldm_core.numerics.grid import Grid


class Phase(IntEnum):
    """When a converter acts, whatever its place in the list."""

    LAYOUT = 1
    """How weights are kept: half precision, quantised, prepacked."""
    WEIGHTS = 2
    """Adds to them, however they are kept: LoRA."""
    CACHE = 3
    """What is computed once and used again."""
    COMPILE = 4
    """Another program for the same network."""
    PLACEMENT = 5
    """Where weights lie and where is computed."""


@dataclass(frozen=True)
class PlaceNames:
    """Where a model is to be, and in which types, by the names in a recipe; ``auto`` where the
    machine decides.

    Attributes:
        device: where it computes.
        dtype: the type in which weights are kept.
        compute_dtype: the type in which is computed with them.
    """

    device: str
    dtype: str
    compute_dtype: str


@dataclass(frozen=True)
class Speedup:
    """Options of a converter with which a model is faster.

    Attributes:
        options: of the converter's factory, beyond those it was made with.
        factor: the time with it over that without, of what `why` says; below 1. None where it is
            published to pay and was not measured.
        why: what was measured, or who says so, in words that a person reads.
        error: for options that are not lossless, how far the picture moves, as it was measured;
            None where the converter with these options is lossless.
        least_steps: of a run, below which it does not pay, as what it first makes takes time,
            or the picture moves farther than was measured.
    """

    options: Mapping[str, Any]
    factor: float | None
    why: str
    error: str | None = None
    least_steps: int = 1


class Converter:
    """Makes another model of a model, which is never changed and shares its weights.

    One that acts on each part by itself overrides `part`, and then acts on parts that are read
    later too, such as side networks; another overrides `convert`.
    """

    phase: Phase
    """When it acts."""

    lossless: bool
    """The answers of the network stay what they are, but for rounding; in the manifest."""

    whole_program: bool = False
    """It computes the network by one program, made once, in which what other converters do within
    the network's layers at some calls and not at others has no effect, such as a cache of
    features."""

    plain: bool = True
    """Weights stay plain tensors, which can be written to a file as they are."""

    between_runs: bool = False
    """What it saves is what an earlier run with an equal input found, such as the encoding of a
    prompt: runs that repeat one input show it saving all of that, and `ldm tune` leaves it out."""

    by_table: bool = False
    """Its runs walk by a table of coefficients, so that the scheduler and the guidance have to be
    linear and nothing may surround the denoiser; its `bind` gives a program."""

    def fit(self, info: ModelInfo, place: PlaceNames) -> Converter:
        """The converter for a model; raise `LdmError` with the reason where it does not fit.
        Called when composing: imports nothing heavy and reads no weights."""
        return self

    def beside(self, others: Sequence[Converter]) -> None:
        """Raise `LdmError` where it contradicts another converter of the recipe. Called when
        composing, with all that are fitted but itself."""

    def within(self, recipe: Mapping[str, Any], attention: Kernel) -> None:
        """Raise `LdmError` where it contradicts what else a recipe says. Called when composing.

        Args:
            recipe: every choice in force.
            attention: the kernel that the network's attention layers are to call.
        """

    def along(self, scheduler: Scheduler, grid: Grid) -> None:
        """Raise `LdmError` where it cannot act on runs of a scheduler. Called when composing.

        Args:
            grid: of as many steps as the recipe says.
        """

    def speedups(self, info: ModelInfo, place: PlaceNames) -> Sequence[Speedup]:
        """With which options it makes this model faster on this device, as was measured or, of
        what is lossless, as is published; what `ldm generate --fast` and `--faster` choose from.
        Asked of a converter that is made without options, before it is fitted; nothing heavy is
        imported and no weights are read. Empty where it does not pay, or cannot run on this
        machine."""
        return ()

    def files(self) -> Sequence[Path]:
        """What it reads beyond the model's files, once it is fitted; the manifest holds their
        hashes."""
        return ()

    def prepare(self, info: ModelInfo) -> None:
        """Raise `LdmError` for what only heavy libraries can tell. Called before weights are
        read."""

    def loading(self, part: PartInfo) -> Mapping[str, Any]:
        """What ``from_pretrained`` of a part is told."""
        return {}

    def reads_to(self, part: PartInfo) -> str | None:
        """The device to which a part's weights are read, such as ``cpu``, where that is another
        than the one on which it computes; `part` or `convert` then see to it that they come there.
        None where they are read to the device on which the part computes."""
        return None

    @property
    def reading(self) -> str | None:
        """What `loading` comes to, in words: pipelines share weights only where it is the same in
        all their converters. None where weights are read as they are without the converter."""
        return None

    def kept_bytes(self, model: Model, name: str) -> int | None:
        """About how many bytes a part's weights take as `loading` has them read, with what of them
        is widened at once where the part computes; None where it changes nothing of them. A plan
        for the memory of a run asks.

        Args:
            model: without numbers, on the device ``meta``.
            name: of the part.
        """
        return None

    def part(self, part: Part) -> Part:
        """What stands in a part's place; the part itself where nothing does."""
        return part

    def convert(self, model: Model) -> Model:
        """The other model."""
        changes = {
            name: other
            for name, part in model.parts.items()
            if (other := self.part(part)) is not part
        }
        place = replace(model.place, later=(*model.place.later, self.part))
        if not changes and model.remake is None:
            return model
        return model.replaced(changes, place)

    def bind(self, run: Run) -> RunHooks:
        """What it does in one run, such as keeping features from one step to the next."""
        return RunHooks()


def as_converter(part: Any) -> Converter:
    """A converter, once it is seen to be one; `LdmError` for anything else."""
    return as_instance(Converter, part, "converter")
