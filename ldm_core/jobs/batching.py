"""What is made at once: pictures that one call makes, in the order in which lines come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ldm_core.composition.recipe import Layer
from ldm_core.jobs.compositions import conversion, key_of, split


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a job.

    Attributes:
        index: among all pictures, from 0; that of a bad line is no picture's.
        line: the number of its line in the file.
        seed: its own.
        name: of its file, without the suffix.
        inputs: its own, by name.
    """

    index: int
    line: int
    seed: int
    name: str
    inputs: Mapping[str, Any]


@dataclass(frozen=True)
class Group:
    """What pictures share that one call can make.

    Attributes:
        choices: recipe keys, over those of the job.
        shared: what a call takes that is one for all its pictures.
    """

    choices: Layer
    shared: Mapping[str, Any]

    def call(self, pictures: Sequence[Picture], defaults: Mapping[str, Any]) -> dict[str, Any]:
        """A call that makes pictures.

        Args:
            defaults: of inputs that are each picture's own, where one of them says nothing.
        """
        names = dict.fromkeys(name for picture in pictures for name in picture.inputs)
        own = {
            name: [picture.inputs.get(name, defaults.get(name)) for picture in pictures]
            for name in names
        }
        return {**self.shared, **own, "seed": [picture.seed for picture in pictures]}


@dataclass(frozen=True)
class Batch:
    """Pictures that are made at once, by one process."""

    group: Group
    pictures: tuple[Picture, ...]


def cut(groups: Iterable[tuple[Group, Sequence[Picture]]], size: int) -> list[Batch]:
    """Batches of at most so many pictures, those of one model together, and of these those of which
    it is converted alike, in the order in which models, conversions, and then groups, first
    appear."""
    models: dict[str, dict[str, list[Batch]]] = {}
    for group, pictures in groups:
        conversions = models.setdefault(key_of(split(group.choices)[0]), {})
        batches = conversions.setdefault(key_of(conversion(group.choices)), [])
        batches += [
            Batch(group, tuple(pictures[start : start + size]))
            for start in range(0, len(pictures), size)
        ]
    return [batch for one in models.values() for batches in one.values() for batch in batches]
