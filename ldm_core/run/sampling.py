"""A run under way: conditions, denoiser, and the walk along the grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ldm_core.arguments import checks_arguments
from ldm_core.composition.composition import Composition
from ldm_core.contracts import (
    Condition,
    Denoise,
    Network,
    Observer,
    Phase,
    Run,
    Step,
    Unequal,
    VariancePredicting,
)
from ldm_core.contracts.record import check_takes
from ldm_core.errors import LdmError
from ldm_core.model.libraries import heard
from ldm_core.numerics.grid import Grid, intervals_behind
from ldm_core.numerics.point import Point
from ldm_core.run.attention import in_force, reaching
from ldm_core.run.conditions import Conditions
from ldm_core.run.denoiser import Denoiser
from ldm_core.run.finite import AllLost, Finiteness
from ldm_core.run.loop import Advance, Loop, advance, check_hooks
from ldm_core.run.part_errors import computing
from ldm_core.run.tf32 import tf32_in_force
from ldm_core.values import brief

Tell = Callable[[Step], None]


class Sampling:
    """A run under way: its first x, and the walk from there.

    Attributes:
        run: what it is a run of.
        x: the first x, (batch, channels, ...) float32.
        finite: what is heard of whether its numbers are finite.
    """

    def __init__(
        self,
        composition: Composition,
        run: Run,
        x: Tensor | None = None,
        finite: Finiteness | None = None,
    ) -> None:
        self._parts = composition
        self.finite = finite or Finiteness(len(run.request.seeds))
        model = run.model
        for conditioning in composition.conditioning:
            model = conditioning.adapt(model)
        self.run = run = replace(run, model=model)
        self._hooks = [converter.bind(run) for converter in composition.converters]
        self._hooks += [conditioning.bind(run) for conditioning in composition.conditioning]
        programs = (hooks.program(advance) for hooks in self._hooks)
        self._program = next((program for program in programs if program is not None), None)
        if self._program is not None:
            check_hooks(self._hooks)
        self.x = self._first() if x is None else x
        self._guidance = composition.guidance.bind(run)
        self._conditions = Conditions(
            composition.conditioning, self._guidance, run, composition.guidance.embedded_scale
        )
        self.finite.conditions = self._conditions.not_finite
        self._branches: list[str] | None = None

    def _first(self) -> Tensor:
        starts = [x for x in (hooks.start() for hooks in self._hooks) if x is not None]
        if len(starts) > 1:
            raise LdmError("two conditionings both say where the picture starts; leave one out.")
        return starts[0] if starts else self.run.noise() * self.run.initial_scale

    def conditions(self) -> dict[str, Condition | Unequal]:
        """The conditions of the network, by the names of the guidance's branches."""
        if self._branches is None:
            branches = (b for point in self.run.grid[:-1] for b in self._guidance.branches(point))
            self._branches = list(dict.fromkeys(branches))
        return self._conditions.of(self._branches)

    def denoiser(self, tellers: Sequence[Tell] = (), finite: Finiteness | None = None) -> Denoise:
        """Conditions, guidance, network and wrappers in one.

        Args:
            tellers: called after each evaluation.
            finite: hears of each evaluation, and unwinds a walk in which no image is left.
        """

        def wrapped(network: Network) -> Network:
            if all(part.phase is not Phase.COMPILE for part in self._parts.converters):
                network = reaching(network, self._parts.attention)
            for hooks in self._hooks:
                network = hooks.network(network)
            return network

        self.conditions()
        network = Denoiser(self.run, self._guidance, self._conditions, wrapped, finite)
        denoise: Denoise = network
        for hooks in self._hooks:
            denoise = hooks.denoise(denoise)
        for wrapper in self._parts.denoisers:
            denoise = wrapper.wrap(denoise)
            if not callable(denoise):
                raise LdmError(f"a wrapper of the denoiser gave {brief(denoise)}, no denoiser.")
        if finite is not None:
            finite.step = network.step
            denoise = denoise if denoise is network else _heard(denoise, finite)
        if tellers:
            denoise = _observed(denoise, self.run.grid, tellers)
        if self.run.model.info.learned_variance:
            denoise = VariancePredicting(denoise, network.variance)
        return denoise

    @checks_arguments
    @torch.no_grad()
    def walk(
        self,
        x: Tensor,
        start: int = 0,
        stop: int | None = None,
        on_step: Tell | None = None,
    ) -> Tensor:
        """x carried along the grid, or a part of it, (batch, channels, ...) float32.

        Args:
            start, stop: indices of the grid's points where x is, and where it is to be; the end
                where not given.
            on_step: called after each evaluation of the denoiser.
        """
        if on_step is not None:
            check_takes(on_step, ("step",), "on_step")
        if not isinstance(x, Tensor) or x.shape != self.x.shape or not x.is_floating_point():
            raise LdmError(
                f"x should be a tensor of floating-point numbers of shape {tuple(self.x.shape)}, "
                f"not {brief(x)}."
            )
        grid = self.run.grid
        last = len(grid) - 1 if stop is None else stop
        if not 0 <= start <= last < len(grid):
            raise LdmError(
                f"a walk of {len(grid)} points goes from one of 0 to {len(grid) - 1} to the same "
                f"or a later one, not from start {brief(start)} to stop {brief(last)}."
            )
        with ExitStack() as stack:
            stack.enter_context(in_force(self._parts.attention))
            stack.enter_context(tf32_in_force(self._parts.recipe))
            stack.enter_context(heard())
            tellers = [stack.enter_context(_watch(part, grid)) for part in self._parts.observers]
            if on_step is not None:
                tellers.append(on_step)
            stack.enter_context(computing(self.run.model))
            try:
                return self._walked(x, start, last, tellers)
            except AllLost:
                return torch.full_like(x, torch.nan)

    def _walked(self, x: Tensor, start: int, last: int, tellers: Sequence[Tell]) -> Tensor:
        grid = self.run.grid
        part = grid if last - start == len(grid) - 1 else grid[start : last + 1]
        if len(part) > 1:
            self.finite.walks(start, last)
            if self._program is None:
                denoise = self.denoiser(tellers, self.finite)
                end = self._parts.scheduler.walk(x, part, denoise, self.run.noise)
            else:
                end = self._loop(self._program).walk(x, part, self.finite, tellers)
            _check_end(end, x)
            self.finite.ended(end)
            x = end
        if last == len(grid) - 1 and self._hooks:
            for hooks in self._hooks:
                x = hooks.finish(x)
            self.finite.finished(x)
        return x

    def _loop(self, program: Advance) -> Loop:
        self.conditions()
        return Loop(self.run, self._parts.scheduler, self._guidance, self._conditions, program)


def _check_end(end: Any, x: Tensor) -> None:
    """See that what a scheduler gave can be x."""
    if not isinstance(end, Tensor) or end.shape != x.shape:
        what = f"a tensor of {tuple(end.shape)}" if isinstance(end, Tensor) else repr(end)
        raise LdmError(f"the scheduler gave {what} for an x of {tuple(x.shape)}; x is walked on.")


def _watch(observer: Observer, grid: Grid) -> AbstractContextManager[Tell]:
    watch: Any = observer.watch(grid)
    if not isinstance(watch, AbstractContextManager):
        raise LdmError(f"an observer gave {brief(watch)}, and should give a context manager.")
    return watch


def _heard(denoise: Denoise, finite: Finiteness) -> Denoise:
    """A denoiser with others around it, of whose answers is heard too."""

    def heard(x: Tensor, point: Point) -> Tensor:
        x0 = denoise(x, point)
        finite.surrounded(x0, point)
        return x0

    return heard


def _observed(denoise: Denoise, grid: Grid, tellers: Sequence[Tell]) -> Denoise:
    """The denoiser, heard by observers."""
    calls = 0

    def observed(x: Tensor, point: Point) -> Tensor:
        nonlocal calls
        x0 = denoise(x, point)
        step = Step(calls, intervals_behind(grid, point), point, x, x0)
        for tell in tellers:
            tell(step)
        calls += 1
        return x0

    return observed
