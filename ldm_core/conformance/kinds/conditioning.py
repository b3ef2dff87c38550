"""Checks of conditionings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ldm_core.conformance.checks import NotApplicable, Subject, check
from ldm_core.conformance.examples import other_values
from ldm_core.conformance.grounds import (
    Ground,
    apart,
    choice,
    fitting,
    grounds,
    only_refusals,
    quietly,
    see,
    see_each_alone,
    see_no_other_randomness,
    see_runs_apart,
    toys,
    tried,
)
from ldm_core.conformance.model_state import differences, model_state
from ldm_core.contracts import NEGATIVE, POSITIVE, Condition, Conditioning, Input, Unequal
from ldm_core.errors import LdmError
from ldm_core.values import fitted, type_name

ASKED = (POSITIVE, NEGATIVE)
"""The branches that a conditioning may be asked for; others are encoded as one of them, with other
inputs."""
CLOSE = 1e-5
"""How far conditions may lie apart that differ in rounding alone."""


@check("conditioning")
def inputs(subject: Subject) -> str:
    """Each input says its type and what it is for, and has a default of that type or none."""
    declared: dict[str, Input] = {}
    for ground in _grounds(subject):
        own = _own(ground).inputs
        see(isinstance(own, Mapping), f"inputs is a {type(own).__name__}, no table")
        for name, one in own.items():
            _see_input(name, one)
        declared |= own
    if not declared:
        raise NotApplicable("reads no inputs")
    return f"reads {', '.join(declared)}"


def _see_input(name: str, one: Any) -> None:
    see(isinstance(one, Input), f"the input '{name}' is a {type(one).__name__}, no Input")
    see(str(name).isidentifier(), f"the input '{name}' should have a name that Python could have")
    see(one.help.strip(), f"the input '{name}' has no help, a line for who gives it")
    if one.required:
        return
    try:
        fitted(one.type, one.default)
    except ValueError as error:
        raise AssertionError(
            f"the default {one.default!r} of the input '{name}' is not of its type, "
            f"{type_name(one.type)}: {error}"
        ) from None


@check("conditioning")
def refuses_wrong_inputs(subject: Subject) -> str:
    """What is of another type than an input declares is refused by an `LdmError`, before weights
    are read."""
    refused: set[str] = set()
    for ground in _grounds(subject):
        for name, one in _own(ground).inputs.items():
            if one.type in (object, Any):
                continue
            wrong = [object()] * 3
            _see_refused(ground, name, wrong)
            refused.add(name)
    if not refused:
        raise NotApplicable("reads no inputs of a type")
    return f"of {', '.join(sorted(refused))}"


def _see_refused(ground: Ground, name: str, wrong: list[Any]) -> None:
    odd = Ground(ground.name, ground.pipe, {**ground.inputs, name: wrong})
    where = f"an object() for the input '{name}'"
    with only_refusals(where):
        _, refusal = tried(odd.plan)
        see(refusal, f"{where} is not refused before weights are read")


@check("conditioning")
def branches(subject: Subject) -> str:
    """It gives the condition of each branch that it is asked for, a row for each image, whichever
    others it is asked for beside."""
    keys: set[str] = set()
    for ground in _grounds(subject):
        part, run = _own(ground), _run(ground)
        conditions = _encoded(part, run, ASKED)
        if not conditions and part.ability is None:
            continue
        for branch in ASKED:
            see(
                branch in conditions,
                f"on {ground.name} it gives no condition of the branch '{branch}', "
                "which guidance may ask for",
            )
            condition = conditions[branch]
            _see_rows(condition, branch, ground)
            keys |= {key for image in range(3) for key in row_of(condition, image)}
            alone = _encoded(part, run, (branch,))
            see(branch in alone, f"on {ground.name} it gives no '{branch}' asked for alone")
            for image in range(3):
                distance = _apart(row_of(condition, image), row_of(alone[branch], image))
                see(
                    distance <= CLOSE,
                    f"on {ground.name} the branch '{branch}' is another (by {distance:.2g}) where "
                    "it is asked for alone",
                )
    if not keys:
        raise NotApplicable("gives the network no condition")
    return f"gives {', '.join(sorted(keys))}"


@check("conditioning")
def rows_alone(subject: Subject) -> str:
    """An image's condition is the same whoever else is in the batch, in shape and numbers."""
    worst, seen = 0.0, False
    for ground in _grounds(subject):
        together = _encoded(_own(ground), _run(ground), ASKED)
        for image in range(3):
            one = _encoded(_own(ground), _run(ground, image), ASKED)
            for branch in together.keys() & one.keys():
                seen = True
                distance = _apart(row_of(together[branch], image), row_of(one[branch], 0))
                worst = max(worst, distance)
                see(
                    distance <= CLOSE,
                    f"on {ground.name} the condition of image {image + 1} of 3 ('{branch}') is "
                    f"another alone ({_difference(distance)}): padding and the like must not "
                    "depend on the other images",
                )
    if not seen:
        raise NotApplicable("gives the network no condition")
    return f"within {worst:.1g}"


@check("conditioning")
def refuses_other_families(subject: Subject) -> str:
    """On a model without what it needs it is refused by an `LdmError`; it does not fail."""
    fits = refused = 0
    for ground in toys(subject):
        with only_refusals(f"on {ground.name}"):
            changed, _ = tried(_put, ground, subject)
            if changed is None:
                refused += 1
                continue
            _, refusal = tried(changed.start)
            if refusal:
                refused += 1
                continue
            changed.draw()
            fits += 1
    return f"runs on {fits} of {fits + refused} toy models, refuses the others"


@check("conditioning")
def leaves_the_model(subject: Subject) -> None:
    """The model that it adapts, and whose runs it is bound to, stays what it was."""
    bases = {ground.name: ground for ground in grounds(subject, fresh=True)}
    for ground in _grounds(subject):
        base = bases[ground.name]
        changed = base.replaced(**_beside(subject)(base))
        expected, before = base.draw(), model_state(base.pipe.model)
        changed.draw()
        changes = differences(before, model_state(base.pipe.model))
        see(not changes, f"on {ground.name} a run changed {', '.join(changes[:3])} of the model")
        see(
            base.draw().equal(expected),
            f"on {ground.name} the model draws something else without it, after a run with it",
        )


@check("conditioning")
def each_alone(subject: Subject) -> str:
    """Each image of a batch is what it is alone."""
    return f"within {max(see_each_alone(ground) for ground in _grounds(subject)):.1g}"


@check("conditioning")
def no_other_randomness(subject: Subject) -> None:
    """What is drawn is the same under another global seed, bit for bit."""
    for ground in _grounds(subject):
        see_no_other_randomness(ground)


@check("conditioning")
def runs_apart(subject: Subject) -> None:
    """A run leaves nothing to the next one, nor to one beside it."""
    for ground in _grounds(subject):
        see_runs_apart(ground)


def _beside(subject: Subject) -> Callable[[Ground], Mapping[str, Any]]:
    """The choices that put it on a ground: beside the model's own conditionings, but in the place
    of those that would undo what it says."""

    def change(ground: Ground) -> Mapping[str, Any]:
        part = subject.made().fit(ground.pipe.composition.info)
        own = zip(
            ground.pipe.recipe.get("conditioning", []),
            ground.pipe.composition.conditioning,
            strict=True,
        )
        kept = [entry for entry, other in own if not _clash(part, other)]
        return {"conditioning": [*kept, choice(subject)]}

    return change


def _put(ground: Ground, subject: Subject) -> Ground:
    """The ground with it; raises `LdmError` where it refuses."""
    return ground.replaced(**_beside(subject)(ground))


def _clash(one: Conditioning, other: Conditioning) -> bool:
    both = one.inputs.keys() & other.inputs.keys()
    return (
        type(one) is type(other)
        or (one.ability is not None and one.ability == other.ability)
        or any(not one.inputs[name].same_as(other.inputs[name]) for name in both)
    )


def _grounds(subject: Subject) -> Iterator[Ground]:
    return map(_spoken_to, fitting(subject, _beside(subject)))


def _spoken_to(ground: Ground) -> Ground:
    """The ground where each input that it reads and takes other values of has such, an image each:
    by default many are off, or the same for all."""
    extent = ground.pipe.composition.extent()
    for name, one in _own(ground).inputs.items():
        values = other_values(name, one, extent) if isinstance(one, Input) else None
        if values is None or name not in ground.inputs:
            continue
        other = replace(ground, inputs={**ground.inputs, name: values})
        with suppress(LdmError), quietly():  # what it makes of odd values others see to
            other.start()
            ground = other
    return ground


def _own(ground: Ground) -> Conditioning:
    """The conditioning under check."""
    return ground.pipe.composition.conditioning[-1]


def _run(ground: Ground, *images: int) -> Any:
    with quietly():
        return ground.start(images or (0, 1, 2)).run


def _encoded(part: Conditioning, run: Any, branches: tuple[str, ...]) -> Mapping[str, Any]:
    with quietly(), torch.no_grad():
        conditions = part.encode(run, branches)
    see(isinstance(conditions, Mapping), f"encode gave a {type(conditions).__name__}, no table")
    return conditions


def row_of(condition: Condition | Unequal, image: int) -> dict[str, Tensor]:
    """The condition of one image."""
    if isinstance(condition, Unequal):
        return dict(condition.each[image])
    return {key: value[image : image + 1] for key, value in condition.items()}


def _see_rows(condition: Any, branch: str, ground: Ground) -> None:
    where = f"on {ground.name} the condition of the branch '{branch}'"
    if isinstance(condition, Unequal):
        count = len(condition.each)
        see(count == 3, f"{where} speaks of {count} images, and there are 3")
        tables, rows = condition.each, 1
    else:
        see(isinstance(condition, Mapping), f"{where} is a {type(condition).__name__}, no table")
        tables, rows = (condition,), 3
    for table in tables:
        for key, value in table.items():
            see(isinstance(value, Tensor), f"{where}: '{key}' is a {type(value).__name__}")
            see(
                value.ndim > 0 and len(value) == rows,
                f"{where}: '{key}' has the shape {tuple(value.shape)}, and should have {rows} "
                f"row{'s' * (rows > 1)}, one for each image",
            )
            see(
                not value.is_floating_point() or not value.isnan().any(),
                f"{where}: '{key}' has numbers that are none",
            )


def _apart(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """How far two conditions of one image lie apart; infinite where shapes or keys differ."""
    if one.keys() != other.keys() or any(one[key].shape != other[key].shape for key in one):
        return float("inf")
    if all(one[key].equal(other[key]) for key in one):
        return 0.0
    return max(apart(one[key].float(), other[key].float()) for key in one)


def _difference(distance: float) -> str:
    return "of another shape" if distance == float("inf") else f"by {distance:.2g}"
