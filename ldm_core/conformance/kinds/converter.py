"""Checks of converters."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ldm_core.conformance.checks import NotApplicable, Subject, check
from ldm_core.conformance.grounds import (
    Ground,
    apart,
    choice,
    grounds,
    on_folder,
    only_refusals,
    quietly,
    see,
    see_each_alone,
    see_files,
    see_latents,
    see_no_other_randomness,
    see_runs_apart,
    toys,
    tried,
)
from ldm_core.conformance.model_state import State, differences, model_state
from ldm_core.conformance.toy import TOYS
from ldm_core.conformance.traces import global_seed
from ldm_core.contracts import Call, Converter, Model, Phase, PlaceNames, Row, Speedup

ROUNDING = 1e-5
"""How far the answers of a network may lie apart with a converter that declares itself lossless."""
DRAWN = 1e-4
"""As far the latents of a run, in which rounding adds up."""


@check("converter")
def declared(subject: Subject) -> str:
    """It says in which phase it acts, and whether it is lossless."""
    part = subject.made()
    see(isinstance(_phase(part), Phase), "it declares no phase, one of Phase")
    see(type(_lossless(part)) is bool, "it does not declare whether it is lossless, True or False")
    for name, value in (("whole_program", part.whole_program), ("plain", part.plain)):
        see(type(value) is bool, f"its {name} is {value!r}, and should be True or False")
    return f"{part.phase.name.lower()}, {'lossless' if part.lossless else 'lossy'}"


@check("converter")
def speedups(subject: Subject) -> str:
    """What it says that it makes faster are `Speedup`s whose options it has, whose factor lies
    between 0 and 1 or, of what is lossless, was not measured, and whose reason is in words; the
    files that it names are there."""
    part: Converter = subject.made()
    count = 0
    for ground in toys(subject):
        info = ground.pipe.composition.info
        for device in ("cpu", "cuda"):
            for one in part.speedups(info, PlaceNames(device, "auto", "auto")):
                see(isinstance(one, Speedup), f"speedups gives {one!r}, which is no Speedup")
                strange = {*one.options} - {*subject.plugin.options}
                see(not strange, f"a speedup has options that it lacks: {', '.join(strange)}")
                factor, least = one.factor, one.least_steps
                right = factor is None or (isinstance(factor, float) and 0 < factor <= 1)
                see(right, f"a speedup has a factor of {factor!r}, and below 1 is faster")
                right = type(least) is int and least > 0
                see(right, f"a speedup pays from {least!r} steps on, which is no number of them")
                right = factor is not None or one.error is None
                see(right, "a speedup moves the picture, and was not measured")
                see(isinstance(one.why, str) and one.why, "a speedup does not say why")
                count += 1
        fitted, _ = tried(part.fit, info, PlaceNames("cpu", "float32", "float32"))
        if isinstance(fitted, Converter):
            see_files(fitted)
    return f"{count} on {len(toys(subject))} toy models"


def _phase(part: Converter) -> object:
    try:
        return part.phase
    except AttributeError:
        return None


def _lossless(part: Converter) -> object:
    try:
        return part.lossless
    except AttributeError:
        return None


@check("converter")
def refuses_other_families(subject: Subject) -> str:
    """A model that it cannot convert is refused by an `LdmError`; it does not fail."""
    fits = refused = 0
    for ground in toys(subject):
        with only_refusals(f"on {ground.name}"):
            changed, _ = tried(_converted, ground, subject)
            if changed is None:
                refused += 1
            else:
                lost = ground.pipe.model.parts.keys() - changed.pipe.model.parts.keys()
                see(not lost, f"on {ground.name} the model that it makes lacks {', '.join(lost)}")
                changed.draw()
                fits += 1
    return f"runs on {fits} of {fits + refused} toy models, refuses the others"


@check("converter")
def lossless(subject: Subject) -> str:
    """What it declares: the network's answers stay, but for rounding, where it is lossless; of any
    other, how far the latents move, which are finite."""
    answers, latents, lossy = 0.0, 0.0, False
    for pair in _pairs(subject):
        drawn = pair.changed.draw()
        see_latents(drawn, pair.changed)
        moved = apart(drawn, pair.base.draw())
        latents = max(latents, moved)
        if not pair.part.lossless:
            lossy = True
            continue
        distance = _answers_apart(pair)
        answers = max(answers, distance)
        see(
            distance <= ROUNDING,
            f"it is declared lossless, and on {pair.base.name} the network's answers differ by "
            f"{distance:.2g}, over the largest",
        )
        see(
            moved <= DRAWN,
            f"it is declared lossless, and on {pair.base.name} the latents of a run differ by "
            f"{moved:.2g}, over the largest",
        )
    return f"latents move by {latents:.2g}" if lossy else f"answers within {answers:.1g}"


@check("converter")
def undone(subject: Subject) -> str:
    """The model that it is given stays as it was: its modules, their hooks, each weight bit for
    bit, and what it draws; also once the converted one is gone."""
    for pair in _pairs(subject, fresh=True):
        base, before = pair.base, pair.before
        assert before is not None
        _see_unchanged(before, base, "once it was converted")
        expected = base.draw()
        changed = pair.again()
        changed.draw()
        _see_unchanged(before, base, "while the converted one is there")
        see(
            base.draw().equal(expected),
            f"on {base.name} the model it was given draws something else beside the converted one",
        )
        del changed
        pair.forget()
        gc.collect()
        _see_unchanged(before, base, "once the converted one is gone")
        see(
            base.draw().equal(expected),
            f"on {base.name} the model it was given draws something else once the converted one is "
            "gone",
        )
    return "modules, hooks and weights as before"


@check("converter")
def shares_weights(subject: Subject) -> str:
    """Two conversions of one model stand beside each other: each draws what it would alone, also
    once the other is gone."""
    memory = 0.0
    for pair in _pairs(subject):
        one, other = pair.changed, pair.again()
        expected = one.draw()
        see(
            other.draw().equal(expected),
            f"on {pair.base.name} a second conversion of the same weights draws something else",
        )
        see(
            one.draw().equal(expected),
            f"on {pair.base.name} it draws something else once there is a second conversion of the "
            "same weights",
        )
        memory = max(memory, _own_memory(pair.base.pipe.model, one.pipe.model))
        del other
        gc.collect()
        see(
            one.draw().equal(expected),
            f"on {pair.base.name} it draws something else once a second conversion of the same "
            "weights is gone",
        )
    return f"{memory:.0%} of the weights' memory is its own"


@check("converter")
def each_alone(subject: Subject) -> str:
    """Each image of a batch is what it is alone."""
    return f"within {max(see_each_alone(pair.changed) for pair in _pairs(subject)):.1g}"


@check("converter")
def runs_apart(subject: Subject) -> None:
    """A run leaves nothing to the next one, nor to one beside it."""
    for pair in _pairs(subject):
        see_runs_apart(pair.changed)


@check("converter")
def no_other_randomness(subject: Subject) -> None:
    """What is drawn is the same under another global seed, while it converts and while it runs."""
    for pair in _pairs(subject):
        see_no_other_randomness(pair.changed)
        with global_seed(11):
            once = pair.again().draw()
        with global_seed(12):
            again = pair.again().draw()
        see(
            once.equal(again),
            f"on {pair.base.name} it makes another model under another global seed (latents differ "
            f"by {apart(once, again):.2g})",
        )


@dataclass
class _Pair:
    """A model without and with the converter."""

    base: Ground
    again: Callable[[], Ground]
    kept: Ground | None = None
    before: State | None = None

    @property
    def changed(self) -> Ground:
        if self.kept is None:
            self.kept = self.again()
        return self.kept

    def forget(self) -> None:
        self.kept = None

    @property
    def part(self) -> Converter:
        """The converter as it fits the model."""
        plain = len(self.base.pipe.composition.converters)
        converters = self.changed.pipe.composition.converters
        kinds = {type(part) for part in self.base.pipe.composition.converters}
        own = [part for part in converters if type(part) not in kinds]
        return own[-1] if own else converters[plain]


def _pairs(subject: Subject, fresh: bool = False) -> Iterator[_Pair]:
    """The models that it does not refuse.

    Args:
        fresh: as of `on_folder`.
    Raises:
        NotApplicable: it refuses them all, for the reason of the last.
    """
    fits, reason = 0, ""
    for ground in _grounds(subject, fresh):
        again = partial(_converted, ground, subject)
        if fresh:  # some of what a module keeps is made when it is first called
            ground.draw()
        before = model_state(ground.pipe.model) if fresh else None
        changed, refusal = tried(again)
        if changed is None:
            reason = f"{ground.name}: {refusal}"
            continue
        fits += 1
        pair = _Pair(ground, again, changed, before)
        del changed  # so that it can be gone while this waits
        yield pair
    if not fits:
        more = "" if subject.model else "; another may be named by --model FOLDER"
        raise NotApplicable(f"it refuses every model that it was tried on ({reason}){more}")


def _grounds(subject: Subject, fresh: bool) -> list[Ground]:
    """Two toy models, as what a network predicts is nothing to a converter, and the folder."""
    several = grounds(subject, fresh)
    return [*several[:2], *several[len(TOYS) :]]


def _converted(ground: Ground, subject: Subject) -> Ground:
    """The ground with the converter; raises `LdmError` where it refuses."""
    own = ground.pipe.recipe.get("converters", [])
    chosen = [*own, choice(subject)]
    if subject.made().reading is None or ground.pipe.composition.info.family == "toy":
        changed = ground.replaced(converters=chosen)
    else:  # it acts while weights are read
        changed = on_folder(subject, converters=chosen)
    with quietly():
        _ = changed.pipe.model
        changed.start()
    return changed


def _see_unchanged(before: State, base: Ground, when: str) -> None:
    changes = differences(before, model_state(base.pipe.model))
    see(
        not changes,
        f"on {base.name} {when} it has changed {', '.join(changes[:3])} of the model it was given",
    )


def _answers_apart(pair: _Pair) -> float:
    """How far the answers of the two networks lie apart at most, at the points of a run."""
    with quietly(), torch.no_grad():
        one, other = pair.base.start(), pair.changed.start()
        conditions = one.conditions()
        condition = next(iter(conditions.values()))
        if not isinstance(condition, dict):
            return 0.0
        worst = 0.0
        grid = one.run.grid
        for step, point in enumerate(grid[:-1]):
            images = range(len(one.x))
            rows = tuple(Row(i, "positive", point, step, len(grid) - 1) for i in images)
            t = torch.full((len(rows),), float(point.t))
            call = Call(one.x * (point.sigma**2 + point.alpha**2) ** 0.5, t, condition, rows)
            expected = one.run.model.network(call)
            worst = max(worst, apart(other.run.model.network(call), expected))
    return worst


def _own_memory(base: Model, changed: Model) -> float:
    """Which share of the weights' memory does not belong to the model it was made of."""
    shared = {tensor.untyped_storage().data_ptr() for tensor in _tensors(base)}
    tensors = _tensors(changed)
    total = sum(tensor.nbytes for tensor in tensors) or 1
    own = [t for t in tensors if t.untyped_storage().data_ptr() not in shared]
    return sum(tensor.nbytes for tensor in own) / total


def _tensors(model: Model) -> list[Tensor]:
    modules = [p.module for p in model.parts.values() if isinstance(p.module, torch.nn.Module)]
    tensors = [t for module in modules for t in (*module.parameters(), *module.buffers())]
    return [t for t in tensors if type(t) in (Tensor, torch.nn.Parameter) and not t.is_meta]
