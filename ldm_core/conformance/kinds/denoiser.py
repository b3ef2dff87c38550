"""Checks of wrappers around the denoiser."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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
    grounds,
    quietly,
    see,
    see_each_alone,
    see_latents,
    see_like,
    see_no_other_randomness,
    see_runs_apart,
    tried,
)
from ldm_core.contracts import Denoise
from ldm_core.numerics.point import Point

STRENGTHS = ("strength", "amount", "weight")
"""Options that are expected to be neutral at 0 or at 1, where a wrapper does not say."""
SWITCHES = ("enabled", "active")
TWICE = 1e-5
"""How far two answers to one question may lie apart."""
HEUN = "ldm-core:heun"
"""A scheduler that asks twice in a step, the second time at the next point."""


@check("denoiser")
def answers(subject: Subject) -> str:
    """What it gives has the shape of x, is float32 and finite, under a scheduler that asks once in
    a step."""
    count = 0
    for ground in _grounds(subject):
        seen = _watched(ground, subject)
        see_latents(ground.draw(), ground)
        see(
            any(one.asked for one in seen),
            f"on {ground.name} it never asks the denoiser that it wraps: what it gives is of no "
            "model",
        )
        for one in seen:
            see(not one.graph, f"on {ground.name} its answer at {one.point} keeps gradients")
            see_like(one.answer, one.x.shape, f"{ground.name} at {one.point}")
        count += len(seen)
    return f"{count} answers"


@check("denoiser")
def between_points(subject: Subject) -> str:
    """It answers wherever a scheduler asks: twice in a step, the second time at the next point and
    then again there; asked the same twice it answers the same."""
    count = 0
    for ground in _grounds(subject, scheduler=HEUN):
        seen = _watched(ground, subject, scheduler=HEUN)
        for one in seen:
            see_like(one.answer, one.x.shape, f"{ground.name} at {one.point}, with heun")
        _see_asked_twice(ground)
        count += len(seen)
    return f"{count} answers"


def _see_asked_twice(ground: Ground) -> None:
    """See that an answer depends on x and the point, and not on how often it was asked for."""
    with quietly(), torch.no_grad():
        run = ground.start()
        denoise = run.denoiser()
        for point in run.run.grid[:-1]:
            first = denoise(run.x.clone(), point).clone()
            distance = apart(denoise(run.x.clone(), point), first)
            see(
                distance <= TWICE,
                f"on {ground.name}, asked twice of one x at {point}, it gives another answer the "
                f"second time (by {distance:.2g}): schedulers ask as often as they like",
            )


@check("denoiser")
def neutral(subject: Subject) -> str:
    """With the options that it declares neutral, or at a strength of 0 or 1 where it declares none,
    what is drawn is what is drawn without it."""
    worst, bases = 0.0, {ground.name: ground for ground in grounds(subject)}
    for ground in _grounds(subject):
        base = bases[ground.name]
        expected = base.draw()
        candidates = _neutral_options(subject, ground)
        distances = {}
        for options in candidates:
            wrapper = choice(subject, **options)
            changed, _ = tried(base.replaced, denoisers=[wrapper])
            if changed is not None:
                words = ", ".join(f"{name} = {value}" for name, value in options.items())
                distances[words] = apart(changed.draw(), expected)
        see(distances, "its neutral options are refused")
        least = min(distances.values())
        see(
            least <= CLOSE,
            f"on {ground.name} the latents differ by {least:.2g} from those without it with "
            f"{' and with '.join(distances)}; it may declare what is neutral by @neutral_at(...)",
        )
        worst = max(worst, least)
    return f"within {worst:.1g} of what is drawn without it"


@check("denoiser")
def each_alone(subject: Subject) -> str:
    """Each image of a batch is what it is alone."""
    return f"within {max(see_each_alone(ground) for ground in _grounds(subject)):.1g}"


@check("denoiser")
def no_other_randomness(subject: Subject) -> None:
    """What is drawn is the same under another global seed, bit for bit."""
    for ground in _grounds(subject):
        see_no_other_randomness(ground)


@check("denoiser")
def runs_apart(subject: Subject) -> None:
    """A run leaves nothing to the next one, nor to one beside it."""
    for ground in _grounds(subject):
        see_runs_apart(ground)


@check("denoiser")
def writes_nothing(subject: Subject) -> None:
    """It writes into neither x nor what the denoiser beneath it gave."""
    for ground in _grounds(subject):
        for one in _watched(ground, subject):
            see(
                not one.changed,
                f"on {ground.name} it writes into {' and '.join(one.changed)} at {one.point}",
            )


def _grounds(subject: Subject, **more: Any) -> Iterator[Ground]:
    return fitting(subject, lambda ground: {"denoisers": [choice(subject)]}, **more)


def _neutral_options(subject: Subject, ground: Ground) -> list[Mapping[str, Any]]:
    """The options that are to be neutral, in one of these ways at least.

    Raises:
        NotApplicable: there are none.
    """
    declared = ground.pipe.composition.denoisers[-1].neutral
    if declared is None:
        raise NotApplicable("declares that no options are neutral")
    if declared:
        return [declared]
    options = subject.plugin.options
    for name in STRENGTHS:
        if name in options:
            return [{name: value} for value in (0.0, 1.0)]
    for name in SWITCHES:
        if name in options:
            return [{name: False}]
    raise NotApplicable("declares no neutral options, by @neutral_at, and has no strength")


@dataclass
class _Seen:
    """One answer of a wrapper.

    Attributes:
        changed: what it wrote into.
        asked: how often it asked the denoiser beneath it.
        graph: whether its answer keeps gradients.
    """

    point: Point
    x: Tensor
    answer: Tensor
    changed: list[str]
    asked: int
    graph: bool


def _watched(ground: Ground, subject: Subject, **more: Any) -> list[_Seen]:
    """Every answer of the wrapper in a run, seen from beneath it and from above."""
    seen: list[_Seen] = []
    beneath: list[tuple[Tensor, Tensor]] = []

    def below(denoise: Denoise) -> Denoise:
        def ask(x: Tensor, point: Point) -> Tensor:
            x0 = denoise(x, point)
            beneath.append((x0, x0.clone()))
            return x0

        return ask

    def above(denoise: Denoise) -> Denoise:
        def ask(x: Tensor, point: Point) -> Tensor:
            beneath.clear()
            before = x.clone()
            answer = denoise(x, point)
            see(isinstance(answer, Tensor), f"it gave a {type(answer).__name__}, no tensor")
            changed = [] if x.equal(before) else ["x"]
            changed += [] if all(x0.equal(copy) for x0, copy in beneath) else ["the x0 beneath it"]
            own = answer.detach().clone()
            seen.append(_Seen(point, before, own, changed, len(beneath), answer.requires_grad))
            return answer

        return ask

    ground.replaced(denoisers=[below, choice(subject), above], **more).draw()
    return seen
