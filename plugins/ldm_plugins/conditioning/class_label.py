"""Classes, by number or by name."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ldm_core.contracts import (
    REQUIRED,
    Condition,
    Conditioning,
    Input,
    ModelInfo,
    Request,
    Run,
)
from ldm_core.contracts.abilities import ClassLabelAbility
from ldm_core.errors import LdmError, did_you_mean
from ldm_core.values import brief

INPUTS = {
    "class_label": Input(
        int | str, REQUIRED, help="which class is drawn: its number, or a name that the model has"
    ),
    "negative_class_label": Input(
        int | str | None, None, help="which class guidance leads away from; none of itself"
    ),
}


def class_label() -> Conditioning:
    """A class for each image, by its number or by a name that the model has for it.

    Guidance leads away from no class at all, or from the ``negative_class_label``. A model whose
    classes have several names, as "great white shark, white shark", knows them by each.
    """
    return ClassLabel()


@dataclass(frozen=True)
class ClassLabel(Conditioning):
    classes: tuple[str, ...] = ()

    @property
    def ability(self) -> str:
        return "class_label"

    @property
    def inputs(self) -> Mapping[str, Input]:
        return INPUTS

    def fit(self, info: ModelInfo) -> ClassLabel:
        """The conditioning with the model's classes."""
        return replace(self, classes=info.classes)

    def check(self, request: Request) -> None:
        for name in self.inputs:
            for label in request.inputs[name]:
                if label is not None or name == "class_label":
                    find_class(label, self.classes)

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition]:
        ability: ClassLabelAbility = run.model.abilities["class_label"]
        conditions = {}
        for branch in branches:
            name = "negative_class_label" if branch == "negative" else "class_label"
            labels = run.request.inputs[name]
            numbers = [None if la is None else find_class(la, self.classes) for la in labels]
            conditions[branch] = ability.encode(numbers)
        return conditions


def find_class(label: Any, classes: Sequence[str]) -> int:
    """The number of a class.

    Args:
        label: its number, or one of its names; where names differ in capitals alone, they count.
        classes: the names of each class, several with commas between.
    Raises:
        LdmError: no such class, or several of this name.
    """
    last = len(classes) - 1
    if isinstance(label, str):
        return _by_name(label, classes)
    try:
        number = None if isinstance(label, bool) else operator.index(label)
    except TypeError:
        number = None
    if number is None:
        raise LdmError(f"a class is a number from 0 to {last} or a name, not {brief(label)}.")
    if not 0 <= number <= last:
        raise LdmError(f"there is no class {number}: this model's are numbered from 0 to {last}.")
    return number


def _by_name(label: str, classes: Sequence[str]) -> int:
    names = [
        (name.strip(), number)
        for number, several in enumerate(classes)
        for name in dict.fromkeys([several, *several.split(",")])
        if name.strip()
    ]
    if not names:
        raise LdmError(
            f"this model's classes have no names, so '{label}' is none; they are numbered from 0 "
            f"to {len(classes) - 1}."
        )
    wanted = label.strip()
    numbers = {number for name, number in names if name == wanted}
    if not numbers:
        numbers = {number for name, number in names if name.casefold() == wanted.casefold()}
    if not numbers:
        near = did_you_mean(wanted, [name for name, _ in names])
        raise LdmError(
            f"this model has no class named '{label}'.{near} It has {len(classes)} classes, "
            f"numbered from 0 to {len(classes) - 1}."
        )
    if len(numbers) > 1:
        several = ", ".join(f"{number} ({classes[number]})" for number in sorted(numbers))
        raise LdmError(f"several classes are named '{label}': {several}. Say which by its number.")
    return numbers.pop()
