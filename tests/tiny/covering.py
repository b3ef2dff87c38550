"""Each of many things on each kind of folder: a covering of the pairs at every change.

Kinds of one group have networks and encoders of the same classes, and differ in their configs. At
every change each thing is tried on one kind of each group, and each kind with some of the things,
and at night all are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest

from tiny.folders import FOLDERS

GROUPS = (
    ("Stable Diffusion", "SD v-prediction", "SD inpainting", "LCM"),
    ("SDXL", "SDXL refiner"),
    ("PixArt alpha", "PixArt sigma"),
    ("Flux dev", "Flux schnell"),
)


def in_turn(kind: str, number: int) -> bool:
    """Whether a kind has its turn in its group."""
    for group in GROUPS:
        if kind in group:
            return group.index(kind) == number % len(group)
    return True


def each_on_each(
    things: Iterable[Any], kinds: Collection[str] = tuple(FOLDERS), step: int = 1
) -> list[Any]:
    """Parameters ``(thing, kind)``, all pairs, those that cover nothing new marked ``slow``.

    Args:
        step: each kind is tried with every so-manieth thing at every change, other kinds with
            others.
    """
    return [
        pytest.param(
            thing,
            kind,
            marks=[]
            if in_turn(kind, number) and (number + place) % step == 0
            else pytest.mark.slow,
        )
        for number, thing in enumerate(things)
        for place, kind in enumerate(kinds)
    ]


def by_turns(things: Iterable[Any], others: Collection[Any], first: int = 0) -> list[Any]:
    """Parameters ``(thing, other)``, all pairs, of which each thing meets one other at every
    change, in turn.

    Args:
        first: the number of the other with which the first thing begins, so that several loops meet
            different ones.
    """
    things = tuple(things)
    turns = {(number, (first + number) % len(others)) for number in range(len(things))}
    return [
        pytest.param(thing, other, marks=[] if (number, place) in turns else pytest.mark.slow)
        for number, thing in enumerate(things)
        for place, other in enumerate(others)
    ]


def some_of(cases: Iterable[Any], first: int, step: int) -> list[Any]:
    """Parameters of which every so-manieth, from the one of that number on, is tried at every
    change: of two tests, each takes what the other leaves out.

    Args:
        cases: a tuple of values each, or a single one.
    """
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)),
            marks=[] if number % step == first else pytest.mark.slow,
        )
        for number, case in enumerate(cases)
    ]


def quick_among(kinds: Collection[str], quick: Collection[str]) -> list[Any]:
    """Parameters ``kind``, of which the named ones are tried at every change."""
    return [pytest.param(kind, marks=[] if kind in quick else pytest.mark.slow) for kind in kinds]


def one_of_each(kinds: Collection[str] = tuple(FOLDERS)) -> list[Any]:
    """Parameters ``kind``, of which one of each group is tried at every change."""
    return [
        pytest.param(kind, marks=[] if in_turn(kind, 0) else pytest.mark.slow) for kind in kinds
    ]
