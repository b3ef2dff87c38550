"""What parts give while a run goes on, seen to be what their contracts say.

Ours are tested, and are not looked at; of others' each answer is, at the cost of a comparison of
shapes, so that what is wrong is told where it comes from and not where it first does harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import inf
from typing import Any, TypeGuard, TypeVar

import torch
from torch import Tensor

from ldm_core.contracts import (
    BRANCHES,
    Bound,
    Call,
    Condition,
    Conditioning,
    Decoder,
    Denoise,
    Evaluation,
    Medium,
    Network,
    Run,
    Scheduler,
    Unequal,
)
from ldm_core.errors import PartError
from ldm_core.numerics.point import Point
from ldm_core.plugins.looked_at import is_a
from ldm_core.plugins.owners import Owners
from ldm_core.run.checksum import state
from ldm_core.run.met import Met
from ldm_core.values import brief

T = TypeVar("T")
ENCODING = "while it encoded the conditions"
DIMENSIONS = {"image": 4, "video": 5, "audio": 3}
"""Of a batch of each kind of medium."""


def made_by(
    owners: Owners, part: Any, doing: str, kind: type[T], gives: str, make: Callable[[], Any]
) -> T:
    """What a part makes, once it is seen to be of a kind.

    Args:
        gives: what that is in words, as ``a conditioning binds to RunHooks``.
    Raises:
        PartError: it is not; a `PluginError` of another package's.
    """
    with owners.blamed(part, doing):
        made = make()
        if not isinstance(made, kind):
            raise PartError(part, f"{gives}, and it gave {brief(made)}.")
    return made


def as_x(part: Any, gave: Any, x: Tensor, what: str) -> Tensor:
    """A tensor that a part gave, once it is seen to be like x.

    Args:
        what: it is, as ``a wrapper gives x0``.
    Raises:
        PartError: it is none, or of another shape, type or device.
    """
    if has_shape(gave) and gave.shape == x.shape and gave.dtype is x.dtype:
        if gave.layout is not x.layout:
            raise PartError(part, f"{what}, laid out as x is, and it gave one of {gave.layout}.")
        if gave.device == x.device:
            return gave
        raise PartError(part, f"{what} on {x.device}, where x is, and it gave one on {gave.device}")
    raise PartError(part, f"{what}, {described(x)}, and it gave {described(gave)}.")


def has_shape(value: Any) -> TypeGuard[Tensor]:
    """Whether a value is a tensor of one shape, which a nested one has not."""
    return is_a(value, Tensor) and not value.is_nested


def described(value: Any) -> str:
    """A tensor by its shape and type; anything else in brief."""
    if not has_shape(value):
        return "a nested tensor" if is_a(value, Tensor) else brief(value)
    return f"a tensor of {tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"


def asked_by(denoise: Denoise, part: Any, like: Tensor, whose: str) -> Denoise:
    """A denoiser as a scheduler or wrapper asks it, with what it asks for looked at.

    Args:
        like: what x is like.
    """
    shape, device = like.shape, like.device

    def asked(x: Tensor, point: Point) -> Tensor:
        if not has_shape(x) or x.shape != shape:
            raise PartError(
                part,
                f"{whose} asks the denoiser for x0 of x, {described(like)}, and it asked of "
                f"{described(x)}.",
            )
        if x.device != device:
            where = f"{whose} asks the denoiser for x0 of x on {device}"
            raise PartError(part, f"{where}, and it asked of one on {x.device}.")
        if not isinstance(point, Point):
            what = f"{whose} asks the denoiser for x0 at a Point"
            raise PartError(part, f"{what}, and it asked at {brief(point)}.")
        if not (0 <= point.alpha < inf and 0 <= point.sigma < inf and -inf < point.t < inf):
            what = f"{whose} asks the denoiser for x0 at a point of a noise schedule"
            raise PartError(part, f"{what}, and it asked at {point}.")
        return denoise(x, point)

    return asked


def given_by(denoise: Denoise, part: Any, whose: str, met: Met) -> Denoise:
    """A denoiser whose answers, which a part has a share in, are looked at; their type once, and
    that it leaves x, which is the scheduler's, as it is."""
    first = True

    def given(x: Tensor, point: Point) -> Tensor:
        nonlocal first
        written = state(x)
        try:
            x0 = denoise(x, point)
        except BaseException as error:
            met.hear(error, part)
            raise
        if first or not has_shape(x0) or x0.shape != x.shape:
            as_x(part, x0, x, f"{whose} gives x0 as x is")
            first = False
        if state(x) != written:
            raise PartError(part, f"{whose} leaves x as it is, and it wrote into it.")
        return x0

    return given


def called_by(network: Network, part: Any) -> Network:
    """A network as a part around it calls it, with what it calls it with looked at."""

    def called(call: Call) -> Tensor:
        if not isinstance(call, Call):
            raise PartError(part, f"a network is called with a Call, and not {brief(call)}.")
        several = {len(call.x) if isinstance(call.x, Tensor) and call.x.ndim else 0, len(call.rows)}
        if several != {len(call.t)} or not len(call.t):
            what = "a network is called with a row of x and of t for each of the call's rows"
            gave = f"{described(call.x)}, {described(call.t)} and {len(call.rows)} rows"
            raise PartError(part, f"{what}, and it was with {gave}.")
        return network(call)

    return called


def answered_by(network: Network, part: Any, whose: str, factor: int, met: Met | None) -> Network:
    """A network whose answers, which a part has a share in, are looked at.

    Args:
        factor: 2 of a network that predicts a variance too.
        met: hears what it raises; None where that may be another's, beneath it.
    """

    def answered(call: Call) -> Tensor:
        written = state(call.x)
        try:
            output = network(call)
        except BaseException as error:
            if met is not None:
                met.hear(error, part)
            raise
        if not has_shape(output) or output.shape != call.x.shape:
            rows, channels, *rest = call.x.shape
            shape = (rows, channels * factor, *rest)
            if not has_shape(output) or output.shape != shape:
                raise PartError(
                    part,
                    f"{whose} answers with a tensor of {shape}, a row for each of the call, and it "
                    f"gave {described(output)}.",
                )
        if not output.is_floating_point() or output.layout is not call.x.layout:
            what = f"{whose} answers in floating point, laid out as x is"
            raise PartError(part, f"{what}, and it gave {described(output)}, {output.layout}.")
        if output.device != call.x.device:
            what = f"{whose} answers on {call.x.device}, where x is"
            raise PartError(part, f"{what}, and it did on {output.device}.")
        if state(call.x) != written:
            raise PartError(part, f"{whose} leaves the x of a call as it is, and it wrote into it.")
        return output

    return answered


def bound_by(bound: Bound, part: Any, met: Met) -> Bound:
    """A guidance's bound for one run, whose answers are looked at.

    Raises:
        PartError: its networks or inputs are none.
    """
    networks, inputs = bound.networks, bound.inputs
    if not isinstance(networks, Mapping) or not all(map(callable, networks.values())):
        what = "a guidance's networks are a table of networks by branch"
        raise PartError(part, f"{what}, not {brief(networks)}.")
    tables = isinstance(inputs, Mapping) and all(isinstance(i, Mapping) for i in inputs.values())
    if not tables or not all(
        isinstance(entries, Sequence) and not isinstance(entries, str | bytes)
        for table in inputs.values()
        for entries in table.values()
    ):
        what = "a guidance's inputs are a table by branch, of an entry for each image by name"
        raise PartError(part, f"{what}, not {brief(inputs)}.")

    def branches(point: Point) -> tuple[str, ...]:
        names = bound.branches(point)
        if not isinstance(names, tuple) or not all(isinstance(n, str) for n in names):
            raise PartError(
                part,
                "a guidance names its branches in a tuple, such as ('positive', 'negative'), and "
                f"it gave {brief(names)}.",
            )
        return names

    def combine(outputs: Mapping[str, Tensor], at: Evaluation) -> Tensor:
        x = at.x
        written = state(x)
        try:
            combined = bound.combine(outputs, at)
        except BaseException as error:
            met.hear(error, part)
            raise
        if state(x) != written:
            raise PartError(part, "a guidance leaves x as it is, and it wrote into it.")
        if (
            not has_shape(combined)
            or combined.shape != x.shape
            or combined.dtype is not x.dtype
            or combined.device != x.device
        ):
            like = next(iter(outputs.values()), x)  # of which type a network answers in
            like = like if is_a(like, Tensor) and like.shape == x.shape else x
            as_x(part, combined, like, "a guidance combines answers to one tensor as x is")
        return combined

    return replace(bound, branches=branches, combine=combine)


def encoded_by(
    owners: Owners, part: Conditioning, run: Run, branches: Any
) -> Mapping[str, Condition | Unequal]:
    """What a conditioning gives of each branch, seen to be tensors of a row an image.

    Raises:
        PartError: it is not; a `PluginError` of another package's.
    """
    what = "a conditioning gives a table of tensors for each branch"
    with owners.blamed(part, ENCODING):
        several = part.encode(run, branches)
        if not isinstance(several, Mapping):
            raise PartError(part, f"{what}, and it gave {brief(several)}.")
        for branch, condition in several.items():
            if branch not in branches and branch not in BRANCHES and not owners.is_ours(part):
                asked = ", ".join(map(repr, branches))
                raise PartError(
                    part, f"{what} of {asked}, and it gave one of a branch {brief(branch)}."
                )
            for one in condition.each if isinstance(condition, Unequal) else (condition,):
                tensors = isinstance(one, Mapping) and all(
                    has_shape(value) for value in one.values()
                )
                if not tensors:
                    raise PartError(part, f"{what}, and of {brief(branch)} it gave {brief(one)}.")
        return several


@contextmanager
def left_alone(owners: Owners, part: Any, given: Tensor, what: str) -> Iterator[None]:
    """See that a part leaves what it is given, which may be a person's own, as it is.

    Raises:
        PartError: another package's wrote into it.
    """
    written = None if owners.is_ours(part) else state(given)
    yield
    if written is not None and state(given) != written:
        raise PartError(part, f"it leaves the {what} that it is given alone, and it wrote there.")


def check_medium(medium: Medium, latents: Tensor, part: Decoder) -> None:
    """See that what a decoder gave is one medium for each of the latents, and so is what is beside
    it.

    Raises:
        PartError: it is not.
    """
    data, kind = medium.data, medium.kind
    if data.ndim != DIMENSIONS.get(kind, data.ndim) or not data.is_floating_point():
        raise PartError(
            part,
            f"a decoder of {kind} gives a tensor of {DIMENSIONS.get(kind)} dimensions in floating "
            f"point, and it gave {described(data)}.",
        )
    if data.layout is not torch.strided or data.is_nested:
        gave = f"one of {data.layout}" if not data.is_nested else described(data)
        raise PartError(part, f"a decoder gives a tensor as torch lays it out, and it gave {gave}.")
    if data.dtype.itemsize < 2:
        raise PartError(part, f"a decoder gives numbers to compute with, not {described(data)}.")
    if data.is_meta or not data.numel():
        gave = f"{described(data)} on {data.device}"
        raise PartError(part, f"a decoder gives something to be shown, and it gave {gave}.")
    if kind == "audio" and not medium.rate:
        raise PartError(
            part, "a decoder of audio, or its family, says how many samples a second it gives."
        )
    if len(data) != len(latents):
        raise PartError(
            part,
            f"the decoder gave {kind} for each of {len(data)} images, and {len(latents)} were "
            "asked for.",
        )
    for other in medium.beside:
        check_medium(other, latents, part)


def check_end(end: Any, x: Tensor, scheduler: Scheduler) -> Tensor:
    """What a scheduler gave, once it is seen that it can be x; it keeps no gradients.

    Raises:
        PartError: it cannot.
    """
    if not has_shape(end) or end.shape != x.shape:
        what = f"a tensor of {tuple(end.shape)}" if has_shape(end) else described(end)
        raise PartError(
            scheduler,
            f"the scheduler gave {what} for an x of {tuple(x.shape)}; x is walked on.",
        )
    walked = as_x(scheduler, end, x, "the scheduler gives x as it was")
    return walked.detach() if walked.requires_grad else walked
