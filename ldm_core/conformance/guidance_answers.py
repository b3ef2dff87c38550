"""A guidance whose answers in a run are seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ldm_core.conformance.grounds import Ground, see
from ldm_core.contracts import Bound, Evaluation, Guidance, ModelInfo, Run


@dataclass
class Answer:
    """One answer of a guidance.

    Attributes:
        read: the branches that it read.
        changed: what it wrote into.
    """

    branches: tuple[str, ...]
    at: Evaluation
    outputs: Mapping[str, Tensor]
    answer: Tensor
    x0: Tensor
    read: set[str] = field(default_factory=set)
    changed: list[str] = field(default_factory=list)


class _Reading(dict[str, Tensor]):
    """Outputs that know which of them were read."""

    def __init__(self, outputs: Mapping[str, Tensor]) -> None:
        super().__init__(outputs)
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> Tensor:
        self.names.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return super().get(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        self.names.add(name)
        return super().pop(name, *default)

    def values(self) -> Any:
        self.names |= {*self}
        return super().values()

    def items(self) -> Any:
        self.names |= {*self}
        return super().items()


class _Watched(Guidance):
    """A guidance whose answers are seen.

    Args:
        seen: takes them.
    """

    def __init__(self, guidance: Guidance, seen: list[Answer]) -> None:
        self._guidance = guidance
        self._seen = seen

    @property
    def embedded_scale(self) -> float | None:
        return self._guidance.embedded_scale

    @property
    def estimates_x0(self) -> bool:
        return self._guidance.estimates_x0

    @property
    def altered_attention(self) -> tuple[int | str, ...]:
        return self._guidance.altered_attention

    def fit(self, info: ModelInfo) -> Guidance:
        return _Watched(self._guidance.fit(info), self._seen)

    def files(self) -> Sequence[Path]:
        return self._guidance.files()

    def bind(self, run: Run) -> Bound:
        bound = self._guidance.bind(run)
        see(isinstance(bound, Bound), f"bind gave a {type(bound).__name__}, no Bound")
        return replace(bound, combine=lambda outputs, at: self._combine(bound, outputs, at))

    def _combine(self, bound: Bound, outputs: Mapping[str, Tensor], at: Evaluation) -> Tensor:
        before = {name: output.clone() for name, output in outputs.items()}
        x, reading = at.x.clone(), _Reading(outputs)
        branches = tuple(outputs)
        try:
            answer = bound.combine(reading, at)
        except KeyError as error:
            raise AssertionError(
                f"it reads the output {error}, and asks for {branches or 'no branch'} at {at.point}"
            ) from error
        see(isinstance(answer, Tensor), f"combine gave a {type(answer).__name__}, no tensor")
        changed = [
            f"the {name} output" for name in before if not _same(outputs[name], before[name])
        ]
        changed += [] if _same(at.x, x) else ["x"]
        x0 = answer if bound.gives_x0 else replace(at, x=x).x0(answer)
        seen = Answer(
            branches, replace(at, x=x), before, answer.clone(), x0, reading.names, changed
        )
        self._seen.append(seen)
        return answer


def _same(one: Tensor, other: Tensor) -> bool:
    return bool(torch.equal(one.nan_to_num(), other.nan_to_num()))


def watched(ground: Ground) -> list[Answer]:
    """Every answer of the guidance in a run."""
    seen: list[Answer] = []
    composition = ground.pipe.composition
    watched = replace(composition, guidance=_Watched(composition.guidance, seen))
    replace(ground, pipe=replace(ground.pipe, composition=watched)).draw()
    return seen
