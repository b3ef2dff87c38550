"""The call that a ready-made pipeline would make, without making it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ldm_core.composition.composition import Composition
from ldm_core.contracts import Model
from ldm_core.errors import LdmError
from ldm_core.run.call import CallArguments
from ldm_core.run.in_batches import InBatches
from ldm_core.run.output import Output
from ldm_core.run.pipeline import Pipeline
from ldm_core.run.weights import Weights, converted


@dataclass(frozen=True)
class Recorded:
    """A call of a pipeline, and what the pipeline is then composed of."""

    composition: Composition
    call: CallArguments


class _Reached(BaseException):
    """Unwinds a function at its call of the pipeline, or where it needs weights; no `Exception`,
    so that nothing on the way takes it for a failure."""

    def __init__(self, recorded: Recorded | None = None) -> None:
        super().__init__()
        self.recorded = recorded


class _Recorder(Pipeline):
    """A pipeline without weights, whose call ends the function that makes it."""

    def batches_of(self, call: CallArguments) -> Iterator[Output]:
        raise _Reached(Recorded(self.composition, call))


def _unread() -> Model:
    raise _Reached


def recorded(
    function: InBatches, composition: Composition, /, *args: Any, **named: Any
) -> Recorded:
    """What a function asks of the pipeline that it is handed, once all that it sees to before is
    seen to. No weights are read.

    Args:
        function: one that is `skipping`: its pictures are those of the one call that it makes.
    Raises:
        LdmError: bad arguments, or the function reads weights or ends without a call.
    """
    name, none = function.__name__, Weights(_unread)
    try:
        for _ in function.batches(_Recorder(composition, none, none), *args, **named):
            break
    except _Reached as reached:
        if reached.recorded is None:
            raise LdmError(f"{name} reads the weights before it calls the pipeline.") from None
        return reached.recorded
    raise LdmError(f"{name} makes its pictures without a call of the pipeline.")


def checked(function: InBatches, composition: Composition, /, *args: Any, **named: Any) -> None:
    """See to a call of a function as far as it does itself before it needs weights.

    Raises:
        LdmError: bad arguments.
    """
    none = Weights(_unread)
    try:
        function.batches(Pipeline(composition, none, none), *args, **named)
    except _Reached:
        return


def joined(calls: Sequence[Recorded]) -> list[Recorded]:
    """Calls of one image each as calls of several, in the same order: neighbours that differ in
    nothing that is one for all of a call."""
    groups: list[list[Recorded]] = []
    for one in calls:
        if groups and _alike(groups[-1][0], one):
            groups[-1].append(one)
        else:
            groups.append([one])
    return [_one_of(group) for group in groups]


def _alike(first: Recorded, other: Recorded) -> bool:
    """Whether one call can make the images of both."""
    one, two = first.composition, other.composition
    if one is not two and (one.recipe, one.chosen) != (two.recipe, two.chosen):
        return False
    names = {*first.call.inputs, *other.call.inputs}
    shared = {name for name in names if name not in one.inputs or not one.inputs[name].each}
    return _rest(first, shared) == _rest(other, shared) and (
        first.call.inputs.keys() == other.call.inputs.keys()
    )


def _rest(recorded: Recorded, shared: set[str]) -> tuple[CallArguments, dict[str, Any]]:
    """What is one for all images of a call."""
    inputs = {name: recorded.call.inputs.get(name) for name in shared}
    return replace(recorded.call, inputs={}, seed=None), inputs


def _one_of(group: Sequence[Recorded]) -> Recorded:
    first = group[0]
    declared, call = first.composition.inputs, first.call
    inputs = {
        name: [_single(one.call.inputs[name]) for one in group]
        if name in declared and declared[name].each
        else value
        for name, value in call.inputs.items()
    }
    seeds = [_single(one.call.seed) for one in group]
    return Recorded(first.composition, replace(call, inputs=inputs, seed=seeds))


def _single(value: Any) -> Any:
    """The value of one image, alone or as a list of one."""
    return value[0] if isinstance(value, list | tuple) and len(value) == 1 else value


def on_weights_of(pipe: Pipeline, composition: Composition) -> Pipeline:
    """The pipeline of a composition that a function made of a pipeline's own, on its weights."""
    if composition.converters is pipe.composition.converters:
        return Pipeline(composition, pipe.weights, pipe.unconverted)
    return Pipeline(composition, converted(composition, pipe.unconverted), pipe.unconverted)
