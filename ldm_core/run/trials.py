"""One change of a pipeline, run in turns with the pipeline as it is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ldm_core.composition.recipe import Layer
from ldm_core.contracts import Converter, Plan
from ldm_core.errors import LdmError
from ldm_core.run.decoding import decoder_for
from ldm_core.run.finite import collected
from ldm_core.run.pipeline import Pipeline
from ldm_core.run.time_allowed import TookTooLong, at_most

PAYS = 0.98
"""What does not take less than this share of the time is not told from chance."""
SAME = 1e-3
"""How far what is lossless may move the final latents, over their standard deviation."""


@dataclass(frozen=True)
class Trial:
    """One thing that was tried.

    Attributes:
        change: of the recipe: an entry for ``converters``, or for ``attention``.
        factor: its time over that of the pipeline as it is, the median of the rounds; NaN where it
            was not run.
        first: seconds of its first run, in which programs are compiled and caches filled.
        error: RMS of what it moved the final latents by, over their standard deviation.
        lossless: as it says of itself.
        verdict: why it is taken or not, in words.
        taken: it is.
    """

    change: Layer
    factor: float = float("nan")
    first: float = float("nan")
    error: float = float("nan")
    lossless: bool = True
    verdict: str = ""
    taken: bool = False

    @property
    def name(self) -> str:
        """The plugin's name with its options."""
        (_, choice), *_ = self.change.items()
        options = ", ".join(f"{key} = {value}" for key, value in choice.items() if key != "name")
        name = str(choice["name"])
        return f"{name} ({options})" if options else name


@dataclass(frozen=True)
class Watch:
    """Times runs of a plan."""

    plan: Plan
    rounds: int
    clock: Callable[[], float]
    limit: float = math.inf

    def ratio(self, pipe: Pipeline, other: Pipeline) -> float:
        """The time of the other over that of the pipeline, run in turns; the median of the
        rounds."""
        pairs = [(self.run(pipe)[0], self.run(other)[0]) for _ in range(self.rounds)]
        return statistics.median(theirs / own for own, theirs in pairs)

    def first(self, pipe: Pipeline) -> Tensor:
        """The final latents of a run of the pipeline as it is, seen to be finite and shown.

        Raises:
            NotFiniteError: they are not, or what they show is not.
        """
        with collected() as walks:
            latents = pipe.sample(self.plan)
            pipe.output(latents, self.plan.request, "pt", walks).complete()
        return latents

    def prepared(self, pipe: Pipeline) -> tuple[float, Tensor]:
        """As `run`, for the first time.

        Raises:
            LdmError: it takes longer than it may.
        """
        try:
            with at_most(self.limit):
                seconds, latents = self.run(pipe)
        except TookTooLong:
            seconds = math.inf
        if seconds > self.limit:
            raise LdmError(f"its first run takes longer than the {self.limit:.3g} s that it may.")
        return seconds, latents

    def run(self, pipe: Pipeline) -> tuple[float, Tensor]:
        """Seconds of conditions, walk and decoding; and the final latents."""
        began = self.clock()
        latents = pipe.sample(self.plan)
        medium = decoder_for(pipe, self.plan.request)(latents)
        if medium.data.is_cuda:
            torch.cuda.synchronize(medium.data.device)
        return self.clock() - began, latents


def tried(
    pipe: Pipeline,
    other: Pipeline | Exception,
    change: Layer,
    watch: Watch,
    truth: Tensor,
    lossy: bool,
    begin: Callable[[], None],
) -> Trial:
    """What is measured of one change; with a verdict where it is not to be taken.

    Args:
        begin: called where it is run.
    """
    if isinstance(other, Exception):
        return Trial(change, verdict=f"not here: {in_short(other)}")
    had = {type(converter) for converter in pipe.composition.converters}
    if any(c.between_runs and type(c) not in had for c in other.composition.converters):
        why = "it saves where an input comes again, and these runs have one input alone"
        return Trial(change, verdict=f"not measured: {why}")
    added = [c for c in other.composition.converters if type(c) not in had]
    if added and other.model is pipe.model and all(type(c).bind is Converter.bind for c in added):
        return Trial(change, verdict="not here: it changes nothing of the model as it is")
    lossless = _lossless(other)
    if not lossless and not lossy:
        return Trial(change, lossless=False, verdict="lossy, which was not asked for")
    begin()
    try:
        first, latents = watch.prepared(other)
        factor = watch.ratio(pipe, other)
    except Exception as error:  # of a package whose converter it is; the others are tried still
        return Trial(change, lossless=lossless, verdict=f"not here: {in_short(error)}")
    trial = Trial(change, factor, first, moved_by(latents, truth), lossless)
    if not math.isfinite(trial.error):
        return replace(trial, verdict="what it draws is not finite")
    if lossless and trial.error > SAME:
        what = f"it says that it keeps the picture, and moves it by {trial.error:.2g}"
        return replace(trial, verdict=what)
    return trial if factor < PAYS else replace(trial, verdict="not faster here")


def _lossless(pipe: Pipeline) -> bool:
    """Whether the converters of a pipeline keep the picture, and its kernel does."""
    parts = pipe.composition
    return parts.attention.lossless and all(c.lossless for c in parts.converters)


def moved_by(latents: Tensor, truth: Tensor) -> float:
    difference = (latents - truth).double()
    return float(difference.square().mean().sqrt() / truth.double().std())


def in_short(error: Exception) -> str:
    if isinstance(error, LdmError):
        return error.message
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
