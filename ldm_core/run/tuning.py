"""Which choices make a pipeline faster on this machine, measured.

Each converter and attention kernel that is installed is tried on the pipeline as it is, in turns
with it; then those that pay are put together, the one that pays most first, as long as each makes
the whole faster still.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from ldm_core.composition.fast import speedups, unchosen
from ldm_core.composition.recipe import Layer
from ldm_core.contracts import PlaceNames, Plan
from ldm_core.errors import LdmError, did_you_mean
from ldm_core.plugins.options import REQUIRED
from ldm_core.run.pipeline import Pipeline
from ldm_core.run.trials import PAYS, SAME, Trial, Watch, in_short, moved_by, tried

RUNS, LEAST = 20, 30.0
"""A first run may take as long as so many of the pipeline as it is, of which what it prepares could
save no more, and so many seconds in any case."""


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
    limit: float | None = None,
    tell: Callable[[Trial], None] = lambda trial: None,
    say: Callable[[str], None] = lambda text: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Tuned:
    """Measure what makes runs of a plan faster.

    Args:
        plan: what is run: conditions, steps and decoding, at the batch size that it has.
        lossy: also take what moves the picture.
        only: names of the converters and kernels that are tried; all where there are none.
        rounds: of each comparison; the median counts.
        limit: seconds that the first run with a change may take, in which programs are compiled;
            what takes longer is left. As long as 20 runs take, and 30 s at least, where None.
        tell: hears of each trial.
        say: hears what is done now, in words.
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
    say("measuring a run as it is")
    watch = Watch(plan, rounds, clock)
    truth = watch.first(pipe)
    alone, _ = watch.run(pipe)
    watch = replace(watch, limit=max(RUNS * alone, LEAST) if limit is None else limit)
    changes = _changes(pipe, chosen)
    of = f"of {len(changes)}; a run takes {alone:.2f} s, a first one {watch.limit:.0f} s at most"
    trials: list[Trial] = []
    fastest: tuple[Trial, Pipeline] | None = None  # its programs are compiled once
    for number, change in enumerate(changes, 1):
        other = _made(pipe, change)
        doing = f"trying {Trial(change).name} ({number} {of})"
        trial = tried(pipe, other, change, watch, truth, lossy, partial(say, doing))
        tell(trial)
        trials.append(trial)
        better = fastest is None or trial.factor < fastest[0].factor
        if not trial.verdict and better and isinstance(other, Pipeline):
            fastest = trial, other
    best, factor, error = pipe, 1.0, 0.0
    done: list[Trial] = []
    for trial in sorted(trials, key=lambda t: math.inf if math.isnan(t.factor) else t.factor):
        if trial.verdict:
            done.append(trial)
            continue
        if fastest is not None and trial is fastest[0]:
            best, error = fastest[1], trial.error
            done.append(replace(trial, taken=True, verdict="taken"))
            continue
        say(f"putting {trial.name} together with what is faster")
        try:
            both = _with(best, trial.change)
            _, latents = watch.prepared(both)  # programs are compiled
            ratio = watch.ratio(best, both)
        except Exception as refusal:
            done.append(replace(trial, verdict=f"not beside the others: {in_short(refusal)}"))
            continue
        moved = moved_by(latents, truth)
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
        if factor >= PAYS:  # what each was measured to save was chance
            verdict = f"not faster when measured again: {factor:.2f} of the time"
            done = [replace(t, taken=False, verdict=verdict) if t.taken else t for t in done]
            best, factor, error = pipe, 1.0, 0.0
    seconds = statistics.median(watch.run(pipe)[0] for _ in range(min(rounds, 3)))
    return Tuned(best, tuple(done), factor, error, seconds)


def _changes(pipe: Pipeline, only: Set[str]) -> list[Layer]:
    """Every change that is tried.

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
    return changes


def _made(pipe: Pipeline, change: Layer) -> Pipeline | Exception:
    """The pipeline that a change makes, or why it makes none."""
    try:
        return _with(pipe, change)
    except Exception as error:  # of a package whose converter it is; the others are tried still
        return error


def _with(pipe: Pipeline, change: Layer) -> Pipeline:
    if "converters" in change:
        entries = [*pipe.composition.recipe.get("converters", []), change["converters"]]
        return pipe.replace(converters=entries)
    return pipe.replace(**change)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
