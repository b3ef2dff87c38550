"""Which choices make a pipeline faster on this machine, measured.

Each converter and attention kernel that is installed is tried on the pipeline as it is, in turns
with it; then those that pay are put together, the one that pays most first, as long as each makes
the whole faster still.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ldm_core.composition.fast import speedups, unchosen
from ldm_core.composition.recipe import Layer
from ldm_core.contracts import PlaceNames, Plan
from ldm_core.errors import LdmError, did_you_mean
from ldm_core.plugins.options import REQUIRED
from ldm_core.run.decoding import decoder_for
from ldm_core.run.pipeline import Pipeline

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
class Tuned:
    """What came of it.

    Attributes:
        pipe: the pipeline with what was taken.
        factor: its time over that of the pipeline as it was.
        error: as of a trial.
        seconds: of a run of the pipeline as it was, the median.
    """

    pipe: Pipeline
    trials: tuple[Trial, ...]
    factor: float
    error: float
    seconds: float


def tune(
    pipe: Pipeline,
    plan: Plan,
    *,
    lossy: bool = False,
    only: Sequence[str] = (),
    rounds: int = 5,
    tell: Callable[[Trial], None] = lambda trial: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Tuned:
    """Measure what makes runs of a plan faster.

    Args:
        plan: what is run: conditions, steps and decoding, at the batch size that it has.
        lossy: also take what moves the picture.
        only: names of the converters and kernels that are tried; all where there are none.
        rounds: of each comparison; the median counts.
        tell: hears of each trial.
        clock: what time is read from, in seconds.
    Raises:
        LdmError: the pipeline itself cannot be run, or nothing has one of the names.
        NotFiniteError: what it draws as it is is not finite.
    """
    names = [pipe.composition.registry.named(name) for name in only]
    for name, plugins in zip(only, names, strict=True):
        if not any(plugin.kind in ("converter", "attention") for plugin in plugins):
            kinds = ("converter", "attention")
            near = [p.name for kind in kinds for p in pipe.composition.registry.of_kind(kind)]
            raise LdmError(
                f"no converter and no attention kernel is named '{name}'."
                f"{did_you_mean(name, near)}",
                "`ldm plugins list` shows them.",
            )
    chosen = {plugin.id for plugins in names for plugin in plugins}
    watch = _Watch(plan, rounds, clock)
    truth = watch.first(pipe)
    trials: list[Trial] = []
    for change, other in _changed(pipe, chosen):
        trial = _tried(pipe, other, change, watch, truth, lossy)
        tell(trial)
        trials.append(trial)
    best, factor, error = pipe, 1.0, 0.0
    done: list[Trial] = []
    for trial in sorted(trials, key=lambda t: math.inf if math.isnan(t.factor) else t.factor):
        if trial.verdict:
            done.append(trial)
            continue
        try:
            both = _with(best, trial.change)
            _, latents = watch.run(both)  # programs are compiled
            ratio = watch.ratio(best, both) if best is not pipe else trial.factor
        except Exception as refusal:
            done.append(replace(trial, verdict=f"not beside the others: {_in_short(refusal)}"))
            continue
        moved = _error(latents, truth)
        if not math.isfinite(moved) or (not lossy and moved > SAME):
            done.append(
                replace(trial, verdict=f"beside the others it moves what is drawn: {moved:.2g}")
            )
            continue
        if ratio >= PAYS:
            done.append(replace(trial, verdict=f"beside the others {ratio:.2f} of their time"))
            continue
        best, error = both, moved
        done.append(replace(trial, taken=True, verdict="taken"))
    if best is not pipe:
        factor = watch.ratio(pipe, best)
    seconds = statistics.median(watch.run(pipe)[0] for _ in range(min(rounds, 3)))
    return Tuned(best, tuple(done), factor, error, seconds)


def _changed(pipe: Pipeline, only: Set[str]) -> Iterator[tuple[Layer, Pipeline | Exception]]:
    """Every change that is tried, with the pipeline that it makes, or why it makes none.

    Args:
        only: ids of the plugins; all where there are none.
    """
    composition = pipe.composition
    at = pipe.model.place
    where = PlaceNames(str(at.device), _name(at.dtype), _name(at.compute_dtype))
    changes: list[Layer] = []
    for plugin, converter in unchosen(composition):
        if only and plugin.id not in only:
            continue
        tables: list[Mapping[str, Any]] = [{}]
        for speedup in speedups(plugin, converter, composition, where):
            if dict(speedup.options) not in tables:
                tables.append(dict(speedup.options))
        changes += [{"converters": {"name": plugin.id, **options}} for options in tables]
    for plugin in composition.registry.of_kind("attention"):
        try:
            needs = any(option.default is REQUIRED for option in plugin.options.values())
        except LdmError:
            continue
        wanted = plugin not in composition.plugins and not (only and plugin.id not in only)
        if wanted and not needs:
            changes.append({"attention": {"name": plugin.id}})
    for change in changes:
        try:
            other: Pipeline | Exception = _with(pipe, change)
        except Exception as error:  # of a package whose converter it is; the others are tried still
            other = error
        yield change, other


def _with(pipe: Pipeline, change: Layer) -> Pipeline:
    if "converters" in change:
        entries = [*pipe.composition.recipe.get("converters", []), change["converters"]]
        return pipe.replace(converters=entries)
    return pipe.replace(**change)


def _tried(
    pipe: Pipeline,
    other: Pipeline | Exception,
    change: Layer,
    watch: _Watch,
    truth: Tensor,
    lossy: bool,
) -> Trial:
    """What is measured of one change; with a verdict where it is not to be taken."""
    if isinstance(other, Exception):
        return Trial(change, verdict=f"not here: {_in_short(other)}")
    had = {type(converter) for converter in pipe.composition.converters}
    if any(c.between_runs and type(c) not in had for c in other.composition.converters):
        why = "it saves where an input comes again, and these runs have one input alone"
        return Trial(change, verdict=f"not measured: {why}")
    lossless = _lossless(other)
    if not lossless and not lossy:
        return Trial(change, lossless=False, verdict="lossy, which was not asked for")
    try:
        first, latents = watch.run(other)
        factor = watch.ratio(pipe, other)
    except Exception as error:  # of a package whose converter it is; the others are tried still
        return Trial(change, lossless=lossless, verdict=f"not here: {_in_short(error)}")
    trial = Trial(change, factor, first, _error(latents, truth), lossless)
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


@dataclass(frozen=True)
class _Watch:
    """Times runs of a plan."""

    plan: Plan
    rounds: int
    clock: Callable[[], float]

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

    def run(self, pipe: Pipeline) -> tuple[float, Tensor]:
        """Seconds of conditions, walk and decoding; and the final latents."""
        began = self.clock()
        latents = pipe.sample(self.plan)
        medium = decoder_for(pipe, self.plan.request)(latents)
        if medium.data.is_cuda:
            torch.cuda.synchronize(medium.data.device)
        return self.clock() - began, latents


def _error(latents: Tensor, truth: Tensor) -> float:
    difference = (latents - truth).double()
    return float(difference.square().mean().sqrt() / truth.double().std())


def _in_short(error: Exception) -> str:
    if isinstance(error, LdmError):
        return error.message
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
