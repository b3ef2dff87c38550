"""Checks of guidance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ldm_core.conformance.checks import NotApplicable, Subject, check
from ldm_core.conformance.grounds import (
    CLOSE,
    Ground,
    apart,
    choice,
    fitting,
    quietly,
    see,
    see_each_alone,
    see_files,
    see_like,
    see_no_other_randomness,
    see_runs_apart,
    toys,
    tried,
)
from ldm_core.conformance.guidance_answers import Answer, watched
from ldm_core.conformance.toy import middle
from ldm_core.contracts import BRANCHES, Evaluation, Guidance, Run
from ldm_core.numerics.point import Point
from ldm_core.numerics.prediction import PREDICTION_TYPES

SCALES = ("scale", "guidance_scale", "strength", "weight")
"""Options that are expected to be neutral at 1 or at 0, where a guidance does not say."""
BOUNDS = ("low", "high", "start", "stop", "end")
"""Options that say where a guidance acts."""
HEUN = "ldm-core:heun"
"""A scheduler that asks twice in a step, the second time at the next point."""


@check("guidance")
def fits(subject: Subject) -> str:
    """Each model is fitted, or refused by an `LdmError` with a reason, before weights are read."""
    fitted = 0
    for ground in toys(subject):
        changed, _ = tried(_on, ground, subject)
        if changed is not None:
            part = changed.pipe.composition.guidance
            see(isinstance(part, Guidance), f"fit gave a {type(part).__name__}, no guidance")
            see_files(part)
            fitted += 1
    return f"fits {fitted} of {len(toys(subject))} toy models"


@check("guidance")
def branches(subject: Subject) -> str:
    """Each branch that it asks for is known, and read where it is asked for: others cost time."""
    names: set[str] = set()
    for ground in _grounds(subject):
        _see_known(ground)
        for seen in watched(ground):
            names |= {*seen.branches}
            for branch in seen.branches:
                see(
                    branch in seen.read or ground.pipe.model.info.learned_variance,
                    f"on {ground.name} it asks for the branch '{branch}' at "
                    f"{seen.at.point} and does not read it: it should not ask there",
                )
    return "asks for " + ", ".join(sorted(names))


def _see_known(ground: Ground) -> None:
    """See that the branches which it asks for at each point are some, and known."""
    with quietly():
        run = ground.start().run
        bound = ground.pipe.composition.guidance.bind(run)
    for point in run.grid[:-1]:
        asked = bound.branches(point)
        see(
            isinstance(asked, tuple),
            f"on {ground.name} branches gave {asked!r} at {point}, and should give a tuple",
        )
        for branch in asked:
            see(
                branch in BRANCHES or branch in bound.inputs,
                f"on {ground.name} it asks for the branch '{branch}' at {point}, of which its "
                f"inputs say nothing; without them there are {', '.join(BRANCHES)}",
            )


@check("guidance")
def answers(subject: Subject) -> None:
    """Its answers have the outputs' shape, are float32 and finite, under schedulers that ask once
    and twice in a step."""
    for scheduler in (None, HEUN):
        for ground in _grounds(subject, scheduler):
            for seen in watched(ground):
                see_like(seen.answer, seen.at.x.shape, f"{ground.name} at {seen.at.point}")


@check("guidance")
def neutral(subject: Subject) -> str:
    """With the options that it declares neutral, its answer is the positive branch's; where it
    declares none, at a scale of 1 or 0, or of 1 with another number of its options at 0."""
    worst = 0.0
    for ground in _grounds(subject):
        candidates = _neutral_options(subject, ground.pipe.composition.guidance)
        distances = {}
        for options in candidates:
            changed, _ = tried(_on, ground, subject, options)
            if changed is not None:
                distances[_in_words(options)] = max(map(_from_positive, watched(changed)))
        see(distances, f"its neutral options are refused: {', '.join(map(_in_words, candidates))}")
        least = min(distances.values())
        see(
            least <= CLOSE,
            f"on {ground.name} its answer differs by {least:.2g} from the positive branch's with "
            f"{' and with '.join(distances)}; it may declare what is neutral, or that nothing is, "
            "by `neutral`",
        )
        worst = max(worst, least)
    return f"within {worst:.1g} of the positive branch"


@check("guidance")
def inactive(subject: Subject) -> str:
    """Outside its options low and high it asks for fewer branches, and answers with the positive
    one."""
    if not {"low", "high"} <= subject.plugin.options.keys():
        raise NotApplicable("has no options low and high")
    euler = {"scheduler": "ldm-core:euler"}
    for fits in fitting(subject, lambda ground: {"guidance": _beside_none(subject)}, **euler):
        ground = replace(fits, steps=4)
        grid, own = ground.plan().grid, ground.pipe.composition.guidance.neutral or {}
        bounds = {"low": grid[2].ratio * 1.001, "high": grid[1].ratio * 1.001}
        beside = {name: value for name, value in own.items() if name not in SCALES}
        changed = ground.replaced(guidance=_beside_none(subject, {**beside, **bounds}))
        at = {seen.at.point: seen for seen in watched(changed)}
        see({*at} == {*grid[:-1]}, f"on {ground.name} it is not asked once at each point")
        active = at[grid[1]]
        for point in [point for point in (grid[0], grid[2]) if point in at]:  # of two steps one
            see(
                len(at[point].branches) < len(active.branches) or len(active.branches) == 1,
                f"on {ground.name} it asks for {', '.join(at[point].branches)} where it is to be "
                f"inactive, at a noise ratio of {point.ratio:.3g} outside {_in_words(bounds)}",
            )
            see(
                _from_positive(at[point]) <= CLOSE,
                f"on {ground.name} its answer is not the positive branch's where it is to be "
                f"inactive, at a noise ratio of {point.ratio:.3g} outside {_in_words(bounds)}",
            )
    return "the positive branch alone outside low and high"


@check("guidance")
def each_alone(subject: Subject) -> str:
    """Each image of a batch is what it is alone."""
    worst = max(see_each_alone(ground) for ground in _grounds(subject))
    return f"within {worst:.1g}"


@check("guidance")
def no_other_randomness(subject: Subject) -> None:
    """What is drawn is the same under another global seed, bit for bit."""
    for ground in _grounds(subject):
        see_no_other_randomness(ground)


@check("guidance")
def runs_apart(subject: Subject) -> None:
    """A run leaves nothing to the next one, nor to one beside it."""
    for ground in _grounds(subject):
        see_runs_apart(ground)


@check("guidance")
def writes_nothing(subject: Subject) -> None:
    """It writes into neither the network's outputs nor x."""
    for ground in _grounds(subject):
        for seen in watched(ground):
            see(
                not seen.changed,
                f"on {ground.name} it writes into {' and '.join(seen.changed)} at {seen.at.point}",
            )


@check("guidance")
def prediction_types(subject: Subject) -> str:
    """Where it weighs outputs, whatever they stand for, it comes to the same x0 for networks that
    differ in the prediction type alone."""
    ground = next(iter(_grounds(subject)))
    guidance = ground.pipe.composition.guidance
    with quietly():
        run = ground.start().run
    worst, affine = 0.0, True
    for point in middle(run.model.info.noise_schedule):
        x0s: dict[str, Tensor] = {}
        for name in ("epsilon", "v_prediction", "flow"):
            probe = _Probe(guidance, run, point, name)
            affine = affine and probe.is_affine()
            x0s[name] = probe.x0()
            see_like(x0s[name], run_shape(run), f"outputs of {name}")
        for name, x0 in x0s.items():
            worst = max(worst, apart(x0, x0s["epsilon"]))
            see(
                not affine or worst <= CLOSE,
                f"for a network of {name} it comes to another x0 than for the same one of epsilon "
                f"(apart by {worst:.2g}): its weights of the branches do not sum to 1, or it takes "
                "an output for an x0",
            )
    return f"x0 within {worst:.1g}" + ("" if affine else ", not linear in the outputs")


@check("guidance")
def leads(subject: Subject) -> str:
    """Where it weighs outputs, a change of the negative branch's x0 alone does not draw its answer
    further that way than that branch itself went: it leads to the positive one, or away from the
    negative one."""
    ground = next(iter(_grounds(subject)))
    with quietly():
        run = ground.start().run
    weights: list[float] = []
    for point in middle(run.model.info.noise_schedule):
        probe = _Probe(ground.pipe.composition.guidance, run, point, "epsilon")
        weight = probe.weight_of("negative")
        if weight is None or not probe.is_affine():
            continue
        weights.append(weight)
        see(
            weight <= 1 + CLOSE,
            f"on {ground.name} at {point} the negative branch weighs {weight:+.3g} in its answer: "
            "it leads away from what was asked for",
        )
    if not weights:
        raise NotApplicable("it weighs no negative branch against a positive one")
    return f"the negative branch weighs {min(weights):+.2g} to {max(weights):+.2g}"


@dataclass
class _Probe:
    """A guidance asked at one point, about branches whose x0 are fixed."""

    guidance: Guidance
    run: Run
    point: Point
    prediction_type: str

    def _ask(self, *x0s: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """What it answers to the mean of the outputs of several x0s, and its x0."""
        prediction = PREDICTION_TYPES[self.prediction_type]
        x = _random(run_shape(self.run), 0)
        at = Evaluation(x, self.point, prediction)
        outputs = {
            branch: torch.stack([at.output(one[branch]) for one in x0s]).mean(0)
            for branch in x0s[0]
        }
        with quietly():
            bound = self.guidance.bind(self.run)
            answer = bound.combine(outputs, at)
        return answer, answer if bound.gives_x0 else at.x0(answer)

    def _x0s(self, seed: int) -> dict[str, Tensor]:
        names = self.guidance.bind(self.run).branches(self.point)
        shape = run_shape(self.run)
        return {name: _random(shape, seed + place) for place, name in enumerate(names)}

    def is_affine(self) -> bool:
        """Whether the answer to the mean of outputs is the mean of the answers."""
        one, other = self._x0s(10), self._x0s(20)
        mean = (self._ask(one)[0] + self._ask(other)[0]) / 2
        return apart(self._ask(one, other)[0], mean) <= CLOSE

    def x0(self) -> Tensor:
        return self._ask(self._x0s(10))[1]

    def weight_of(self, branch: str) -> float | None:
        """Of a branch's x0 in the x0 that comes of the branches; None where it is not asked for
        beside the positive one."""
        x0s = self._x0s(10)
        if branch not in x0s or "positive" not in x0s:
            return None
        moved = {**x0s, branch: x0s[branch] + 1}
        return float((self._ask(moved)[1] - self._ask(x0s)[1]).mean())


def run_shape(run: Run) -> tuple[int, ...]:
    """Of the x of a run."""
    return (len(run.request.seeds), *run.model.info.latents.shape(run.request.extent))


def _random(shape: Sequence[int], seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _on(ground: Ground, subject: Subject, options: Mapping[str, Any] | None = None) -> Ground:
    """The ground with the guidance; raises `LdmError` where it refuses."""
    changed = ground.replaced(guidance=choice(subject, **(options or {})))
    with quietly():
        changed.start()
    return changed


def _grounds(subject: Subject, scheduler: str | None = None) -> Iterator[Ground]:
    more = {} if scheduler is None else {"scheduler": scheduler}
    return fitting(subject, lambda ground: {"guidance": choice(subject)}, **more)


def _beside_none(subject: Subject, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The choice of the guidance with none beside it."""
    kinds = {name for name, option in subject.plugin.options.items() if option.kind == "guidance"}
    return choice(subject, **{**dict.fromkeys(kinds, "ldm-core:none"), **(more or {})})


def _neutral_options(subject: Subject, guidance: Guidance) -> list[Mapping[str, Any]]:
    """The options that are to be neutral, in one of these ways at least.

    Raises:
        NotApplicable: there are none.
    """
    if guidance.neutral is None:
        raise NotApplicable("declares that no options are neutral")
    if guidance.neutral:
        return [guidance.neutral]
    names = [name for name in SCALES if name in subject.plugin.options]
    if not names:
        raise NotApplicable("declares no neutral options, and has no scale")
    others = [
        name
        for name, option in subject.plugin.options.items()
        if type(option.default) in (int, float) and name not in (*SCALES, *BOUNDS)
    ]
    none = {names[0]: 1.0}
    return [none, {names[0]: 0.0}, *({**none, name: 0} for name in others)]


def _in_words(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in options.items())


def _from_positive(seen: Answer) -> float:
    """How far an answer lies from the positive branch's, as x0."""
    if "positive" not in seen.outputs:
        return float("inf")
    return apart(seen.x0, seen.at.x0(seen.outputs["positive"]))
