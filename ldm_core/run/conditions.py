"""The conditions of a run's branches, joined for the calls of the network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

from ldm_core.contracts import (
    BRANCHES,
    NEGATIVE,
    UNCONDITIONAL,
    Bound,
    Condition,
    Conditioning,
    Network,
    Run,
    Unequal,
    concatenate,
    take,
)
from ldm_core.contracts.read_only import ReadOnly
from ldm_core.errors import LdmError, PartError
from ldm_core.plugins.blame import is_of_others
from ldm_core.plugins.owners import Owners
from ldm_core.run.allowance import allowance
from ldm_core.run.conditioned import answering
from ldm_core.run.drawn_again import Draws
from ldm_core.run.finite import CONDITIONS
from ldm_core.run.guards import ENCODING, encoded_by

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Group:
    """Rows that a network is asked for in one call.

    Attributes:
        rows: image and branch of each.
        branches: those that occur, in order.
        whole: the rows are all images of each branch, branch after branch.
        condition: rows first in each tensor.
    """

    rows: tuple[tuple[int, str], ...]
    branches: tuple[str, ...]
    whole: bool
    condition: Condition


class Reading(ReadOnly):
    """Inputs that know which of them were read.

    Attributes:
        names: of those that were.
    """

    def __init__(self, inputs: Mapping[str, Sequence[Any]]) -> None:
        super().__init__(inputs)
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.names.add(name)
        return super().__getitem__(name)


class Conditions:
    """The condition of each branch, encoded when it is first asked for, and joined once for each
    set of branches.

    Args:
        embedded_scale: of the guidance, for a network that is told it.
        owners: whose the conditionings are.
    """

    def __init__(
        self,
        conditioning: Sequence[Conditioning],
        guidance: Bound,
        run: Run,
        embedded_scale: float | None = None,
        owners: Owners | None = None,
    ) -> None:
        self._conditioning = conditioning
        self._guidance = guidance
        self._inputs = guidance.inputs
        self._scale = embedded_scale
        self._run = run
        self._owners = Owners() if owners is None else owners
        self._draws = Draws()
        self._encoded: dict[str, Condition | Unequal] = {}
        self._made: dict[str, Conditioning] = {}
        self._groups: dict[tuple[str, ...], list[Group]] = {}
        self._allowed = allowance()

    def of(self, branches: Sequence[str]) -> dict[str, Condition | Unequal]:
        """The conditions of these branches, by name."""
        missing = [branch for branch in branches if branch not in self._encoded]
        if own := [branch for branch in missing if branch not in self._inputs]:
            for branch in {*own} - {*BRANCHES}:
                names = ", ".join(f"'{name}'" for name in BRANCHES)
                raise PartError(
                    self._guidance,
                    f"the guidance asks for a branch '{branch}', of which its inputs say nothing; "
                    f"without them there are {names}.",
                )
            if asked := [branch for branch in own if branch != UNCONDITIONAL]:
                self._encoded |= self._encode(self._run, asked)
            if UNCONDITIONAL in own:
                self._encoded[UNCONDITIONAL] = self._unconditional()
        for branch in missing:
            inputs = self._inputs.get(branch)
            if inputs:
                self._encoded[branch] = self._encode_with(inputs)
            elif inputs is not None:
                self._encoded[branch] = self.of(["positive"])["positive"]
        return {branch: self._encoded[branch] for branch in branches}

    def groups(self, branches: tuple[str, ...]) -> list[Group]:
        """The calls that ask for these branches: one, where all conditions are of one shape and
        memory allows it."""
        groups = self._groups.get(branches)
        if groups is None:
            groups = self._groups[branches] = self._group(branches)
            most = max((len(group.branches) for group in groups), default=1)
            self._allowed.together = max(self._allowed.together, most)
        return groups

    def answering(self, network: Network) -> Network:
        """The network, whose failure under the condition that another package's conditioning gave
        is that conditioning's."""
        others = [c for c in self._conditioning if is_of_others(self._owners.of(c))]
        return answering(network, others, self._made)

    def not_finite(self) -> dict[int, str]:
        """What first is not finite in the conditions of an image, in words, by image."""
        wrong: dict[int, str] = {}
        images = len(self._run.request.seeds)
        for branch, condition in self._encoded.items():
            for image, own in enumerate(_each(condition, images)):
                for key, value in own.items():
                    if not _is_finite(key, value):
                        read = self._made[key].inputs if key in self._made else ()
                        of = " and ".join(read) or "the guidance"
                        words = f"{CONDITIONS} the {branch} branch ('{key}', of {of})"
                        wrong.setdefault(image, words)
        return wrong

    def _group(self, branches: tuple[str, ...]) -> list[Group]:
        if self._allowed.apart and len(branches) > 1:
            return [group for branch in branches for group in self._group((branch,))]
        conditions = self.of(branches)
        images = range(len(self._run.request.seeds))
        if any(isinstance(condition, Unequal) for condition in conditions.values()):
            return _group_rows(conditions, len(images))
        alike: dict[object, list[str]] = {}
        for branch, condition in conditions.items():
            assert not isinstance(condition, Unequal)
            alike.setdefault(_shapes(condition), []).append(branch)
        return [
            Group(
                rows=tuple((image, branch) for branch in names for image in images),
                branches=tuple(names),
                whole=True,
                condition=_joined([conditions[name] for name in names]),
            )
            for names in alike.values()
        ]

    def _unconditional(self) -> Condition | Unequal:
        """The condition under which nothing is said: the negative one without its inputs.

        Raises:
            LdmError: the network was not trained to answer to it.
        """
        request = self._run.request
        silent = {
            name: [declared.default] * len(request.seeds)
            for part in self._conditioning
            for name, declared in part.inputs.items()
            if name.startswith(f"{NEGATIVE}_") and not declared.required
        }
        changed = [
            name
            for name, defaults in silent.items()
            if any(a is not b for a, b in zip(request.inputs[name], defaults, strict=True))
        ]
        if not changed:
            return self.of([NEGATIVE])[NEGATIVE]
        run = replace(self._run, request=replace(request, inputs={**request.inputs, **silent}))
        try:
            return self._encode(run, [NEGATIVE])[NEGATIVE]
        except LdmError as error:
            raise LdmError(
                "the guidance asks what the network answers where nothing is said, whatever "
                f"{' and '.join(changed)} may say: {error.message}",
                error.hint,
            ) from error

    def _encode_with(self, inputs: Mapping[str, Sequence[Any]]) -> Condition | Unequal:
        """The condition of a branch that has inputs of its own.

        Raises:
            LdmError: one of them is read for the run as a whole, or by none.
        """
        read = Reading({**self._run.request.inputs, **inputs})
        run = replace(self._run, request=replace(self._run.request, inputs=read))
        condition = self._encode(run, ["positive"])["positive"]
        for name in inputs.keys() - read.names:
            raise PartError(
                self._guidance,
                f"the guidance gives a branch a '{name}' of its own, which no conditioning puts "
                "into the condition of a branch; what is read for the whole run cannot differ.",
            )
        return condition

    def _encode(self, run: Run, branches: Sequence[str]) -> dict[str, Condition | Unequal]:
        import torch

        run = self._draws.of(run)
        conditions: dict[str, Condition | Unequal] = {branch: {} for branch in branches}
        for conditioning in self._conditioning:
            several = encoded_by(self._owners, conditioning, run, branches)
            for branch, condition in several.items():
                if branch in conditions:
                    with self._owners.blamed(conditioning, ENCODING):
                        _check_rows(condition, len(run.request.seeds), conditioning)
                        for key in _keys(conditions[branch]) & _keys(condition):
                            self._given_twice(key, self._made[key], conditioning)
                    self._made |= dict.fromkeys(_keys(condition), conditioning)
                    conditions[branch] = _merged(conditions[branch], condition)
            lost = [branch for branch in branches if branch not in several]
            if lost and any(several.values()) and not self._owners.is_ours(conditioning):
                with self._owners.blamed(conditioning, ENCODING):
                    what = "a conditioning gives the condition of each branch"
                    raise PartError(conditioning, f"{what}, and of '{lost[0]}' it gave none.")
        if self._scale is None:
            return conditions
        scale = torch.full((len(run.request.seeds),), self._scale, device=run.device)
        return {branch: _merged(c, {"guidance": scale}) for branch, c in conditions.items()}

    def _given_twice(self, key: str, first: Conditioning, second: Conditioning) -> NoReturn:
        """Refuse two conditionings that give one key; of another package's it is the failure that
        does not name the ability which would have said so before."""
        names = [
            self._owners.called(c, f"the conditioning {type(c).__name__}") for c in (first, second)
        ]
        what = f"{names[0]} and {names[1]} both give the network its '{key}'"
        for part in (second, first):
            if part.ability is None and is_of_others(self._owners.of(part)):
                raise PartError(part, f"{what}, and this one names no ability for it.")
        raise LdmError(f"{what}, and each would undo the other; leave one out.")


def _group_rows(conditions: Mapping[str, Condition | Unequal], images: int) -> list[Group]:
    """The rows of images and branches by the shapes of their conditions."""
    alike: dict[object, list[tuple[int, str, Condition]]] = {}
    for branch, condition in conditions.items():
        for image, own in enumerate(_each(condition, images)):
            alike.setdefault(_shapes(own), []).append((image, branch, own))
    return [
        Group(
            rows=tuple((image, branch) for image, branch, _ in entries),
            branches=tuple(dict.fromkeys(branch for _, branch, _ in entries)),
            whole=False,
            condition=concatenate([own for _, _, own in entries]),
        )
        for entries in alike.values()
    ]


def _shapes(condition: Condition) -> frozenset[tuple[str, tuple[int, ...]]]:
    return frozenset((key, tuple(value.shape[1:])) for key, value in condition.items())


def _joined(conditions: Sequence[Condition | Unequal]) -> Condition:
    """Conditions of one shape, one's rows after the other's."""
    equal = [condition for condition in conditions if not isinstance(condition, Unequal)]
    return equal[0] if len(equal) == 1 else concatenate(equal)


def _each(condition: Condition | Unequal, images: int) -> list[Condition]:
    """The condition of each image, with a single row."""
    if isinstance(condition, Unequal):
        return list(condition.each)
    return [take(condition, [image]) for image in range(images)]


def _check_rows(condition: Condition | Unequal, images: int, owner: Conditioning) -> None:
    """See that a condition speaks of each image of a run.

    Raises:
        LdmError: it has rows for more or fewer.
    """
    each = condition.each if isinstance(condition, Unequal) else (condition,)
    rows = 1 if isinstance(condition, Unequal) else images
    counts = {len(value) for one in each for value in one.values()}
    if len(each) * rows != images or not counts <= {rows}:
        raise PartError(
            owner,
            f"the conditioning {type(owner).__name__} gave {len(each)} conditions with tensors of "
            f"{sorted(counts)} rows for a run of {images} images; an image has one row.",
        )


def _is_finite(key: str, value: Tensor) -> bool:
    """Whether a tensor is finite; a mask that is added to scores may hold minus infinity."""
    values = value[value != -math.inf] if "mask" in key else value
    return bool(values.isfinite().all())


def _keys(condition: Condition | Unequal) -> set[str]:
    each = condition.each if isinstance(condition, Unequal) else (condition,)
    return {key for one in each for key in one}


def _merged(below: Condition | Unequal, over: Condition | Unequal) -> Condition | Unequal:
    """Two parts of a condition, with other keys each, as one."""
    if not isinstance(below, Unequal) and not isinstance(over, Unequal):
        return {**below, **over}
    several = next(len(part.each) for part in (over, below) if isinstance(part, Unequal))
    pairs = zip(_each(below, several), _each(over, several), strict=True)
    return Unequal(tuple({**one, **other} for one, other in pairs))
