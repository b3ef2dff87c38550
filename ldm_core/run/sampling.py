"""A run under way: conditions, denoiser, and the walk along the grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from ldm_core.arguments import checks_arguments
from ldm_core.composition.composition import Composition
from ldm_core.contracts import (
    Bound,
    Condition,
    Conditioning,
    Converter,
    Denoise,
    Model,
    Network,
    Phase,
    Run,
    RunHooks,
    Scheduler,
    Step,
    Unequal,
    VariancePredicting,
)
from ldm_core.contracts.record import check_takes
from ldm_core.errors import LdmError, PartError, is_raised_by_us
from ldm_core.model.libraries import heard
from ldm_core.model.what_families_say import check_model
from ldm_core.numerics.grid import Grid, intervals_behind
from ldm_core.numerics.point import Point
from ldm_core.plugins.looked_at import is_a
from ldm_core.run import guards
from ldm_core.run.attention import in_force, reaching
from ldm_core.run.conditions import Conditions
from ldm_core.run.denoiser import Denoiser
from ldm_core.run.finite import AllLost, Finiteness
from ldm_core.run.loop import Advance, Loop, advance, check_hooks
from ldm_core.run.met import Met, point_of
from ldm_core.run.observing import Tell, failing
from ldm_core.run.part_errors import computing
from ldm_core.run.tf32 import tf32_in_force
from ldm_core.run.unasked import warn_of_unasked
from ldm_core.run.unchanged import unchanged
from ldm_core.values import brief

T = TypeVar("T")
BEFORE, AFTER = "before the first step", "after the last step"


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
        self._owners = owners = composition.owners.copy()
        self._doing: str | None = BEFORE
        self._met = Met(owners)
        model = run.model
        for conditioning in composition.conditioning:
            with unchanged(model, conditioning, owners, BEFORE):
                model = self._adapted(conditioning, model)
        self.run = run = replace(run, model=model)
        self._hooks: list[RunHooks] = []
        parts: tuple[Converter | Conditioning, ...] = composition.converters
        for part in (*parts, *composition.conditioning):
            hooks = self._made(part, RunHooks, partial(part.bind, run))
            owners.passes_to(part, hooks)
            self._hooks.append(hooks)
        programs = (self._program_of(hooks) for hooks in self._hooks)
        self._program = next((program for program in programs if program is not None), None)
        if self._program is not None:
            check_hooks(self._hooks, owners)
        else:
            self._check_tables()
        self.x = self._first() if x is None else x
        guidance = composition.guidance
        bound = self._made(guidance, Bound, partial(guidance.bind, run))
        looked_at = self._program is None and not owners.is_ours(guidance)
        with owners.blamed(guidance, BEFORE):
            self._guidance = guards.bound_by(bound, guidance, self._met) if looked_at else bound
        owners.passes_to(guidance, self._guidance)
        self._conditions = Conditions(
            composition.conditioning, self._guidance, run, guidance.embedded_scale, owners
        )
        self.finite.conditions = self._conditions.not_finite
        self._branches: list[str] | None = None

    def _adapted(self, part: Conditioning, model: Model) -> Model:
        """The model as a conditioning adapts it; of another package's both are looked at."""
        made = self._made(part, Model, partial(part.adapt, model))
        if not self._owners.is_ours(part):
            with self._owners.blamed(part, BEFORE):
                for one in (model, made):
                    check_model(one, part)
        return made

    def _made(self, part: Any, kind: type[T], make: Callable[[], Any]) -> T:
        gives = f"what is made of a part for a run is of the kind {kind.__name__}"
        return guards.made_by(self._owners, part, BEFORE, kind, gives, make)

    def _program_of(self, hooks: RunHooks) -> Advance | None:
        with self._owners.blamed(hooks, BEFORE):
            program = hooks.program(advance)
            if program is not None and not callable(program):
                what = "a program is a function that advances, or None where there is none"
                raise PartError(hooks, f"{what}, and it gave {brief(program)}.")
            return program

    def _check_tables(self) -> None:
        """See that no converter of others says that runs go by its table, and has none."""
        for part in self._parts.converters:
            with self._owners.blamed(part, BEFORE):
                if part.by_table and not self._owners.is_ours(part):
                    raise PartError(part, "its runs are to go by a table, and it gives no program.")

    def _first(self) -> Tensor:
        starts = []
        for hooks in self._hooks:
            with self._owners.blamed(hooks, BEFORE):
                start = hooks.start()
                if start is None:
                    continue
                request, latents = self.run.request, self.run.model.info.latents
                shape = (len(request.seeds), *latents.shape(request.extent))
                if not guards.has_shape(start) or start.shape != shape:
                    gave = guards.described(start)
                    raise PartError(hooks, f"the first x is a tensor of {shape}, and not {gave}.")
                starts.append(start)
        if len(starts) > 1:
            raise LdmError("two conditionings both say where the picture starts; leave one out.")
        return starts[0] if starts else self.run.noise() * self.run.initial_scale

    def conditions(self) -> dict[str, Condition | Unequal]:
        """The conditions of the network, by the names of the guidance's branches."""
        if self._branches is None:
            branches = (b for point in self.run.grid[:-1] for b in self._guidance.branches(point))
            self._branches = list(dict.fromkeys(branches))
            warn_of_unasked(self._parts.inputs, self.run.request, self._branches)
        return self._conditions.of(self._branches)

    def denoiser(self, tellers: Sequence[Tell] = (), finite: Finiteness | None = None) -> Denoise:
        """Conditions, guidance, network and wrappers in one.

        Args:
            tellers: called after each evaluation.
            finite: hears of each evaluation, and unwinds a walk in which no image is left.
        """

        owners = self._owners
        factor = 2 if self.run.model.info.learned_variance else 1

        def wrapped(network: Network) -> Network:
            near = (*reversed(self._parts.converters), self._parts.family)
            maker = next((part for part in near if not owners.is_ours(part)), None)
            if maker is not None:
                met = self._met if maker is self._parts.family else None
                network = guards.answered_by(network, maker, "a network", factor, met)
            if all(part.phase is not Phase.COMPILE for part in self._parts.converters):
                network = reaching(network, self._parts.attention)
            for hooks in self._hooks:
                ours = owners.is_ours(hooks)
                inner = network if ours else guards.called_by(network, hooks)
                with owners.blamed(hooks, BEFORE):
                    other = _callable(hooks, hooks.network(inner), "network")
                if other is inner:
                    continue
                if not ours:
                    other = guards.answered_by(other, hooks, "a network", factor, self._met)
                network = other
            return network

        self.conditions()
        network = Denoiser(self.run, self._guidance, self._conditions, wrapped, finite)
        denoise: Denoise = network
        for hooks in self._hooks:
            denoise = self._around(denoise, hooks, hooks.denoise)
        for wrapper in self._parts.denoisers:
            surround = partial(wrapper.surround, run=self.run)
            denoise = self._around(denoise, wrapper, surround)
        if finite is not None:
            finite.step = network.step
            denoise = denoise if denoise is network else _heard(denoise, finite)
        if tellers:
            denoise = _observed(denoise, self.run.grid, tellers)
        scheduler = self._parts.scheduler
        if not owners.is_ours(scheduler):
            denoise = guards.asked_by(denoise, scheduler, self.x, "a scheduler")
        if self.run.model.info.learned_variance:
            denoise = VariancePredicting(denoise, network.variance)
        return denoise

    def _around(self, denoise: Denoise, part: Any, wrap: Callable[[Denoise], Any]) -> Denoise:
        """The denoiser with a part around it, which is looked at where it is not ours."""
        with self._owners.blamed(part, BEFORE):
            ours = self._owners.is_ours(part)
            inner = denoise if ours else guards.asked_by(denoise, part, self.x, "a wrapper")
            outer: Denoise = _callable(part, wrap(inner), "denoiser")
        if ours:
            return outer
        if outer is inner:
            return denoise
        return guards.given_by(outer, part, "a wrapper", self._met)

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
        if not is_a(x, Tensor) or x.shape != self.x.shape or not x.is_floating_point():
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
        with failing([self.finite]):
            try:
                with ExitStack() as stack:
                    stack.enter_context(self._owners.kept_folder())
                    stack.enter_context(in_force(self._parts.attention))
                    stack.enter_context(tf32_in_force(self._parts.recipe))
                    stack.enter_context(heard())
                    tellers = self.finite.audience.tellers(
                        self._parts.observers, self.run, stack, self._owners
                    )
                    if on_step is not None:
                        tellers.append(self._met.callers(on_step))
                    stack.enter_context(computing(self.run.model))
                    try:
                        return self._walked(x, start, last, tellers)
                    except AllLost as lost:
                        if not is_raised_by_us(lost):
                            raise
                        return torch.full_like(x, torch.nan)
            except BaseException as error:
                told = self._met.told(error, self._doing or self.finite.at(point_of(error)))
                if told is None:
                    raise
                raise told from error

    def _walked(self, x: Tensor, start: int, last: int, tellers: Sequence[Tell]) -> Tensor:
        grid, scheduler = self.run.grid, self._parts.scheduler
        part = grid if last - start == len(grid) - 1 else grid[start : last + 1]
        self._doing = BEFORE
        if len(part) > 1:
            self.finite.walks(start, last)
            if self._program is None:
                denoise = self.denoiser(tellers, self.finite)
                self._doing = None
                end = self._walk_by(scheduler, x, part, denoise)
            else:
                loop = self._loop(self._program)
                self._doing = None
                end = loop.walk(x, part, self.finite, tellers)
            x = guards.check_end(end, x, scheduler)
            self.finite.ended(x)
        self._doing = AFTER
        if last == len(grid) - 1 and self._hooks:
            for hooks in self._hooks:
                x = self._finished(hooks, x)
            self.finite.finished(x)
        return x

    def _walk_by(self, scheduler: Scheduler, x: Tensor, grid: Grid, denoise: Denoise) -> Any:
        try:
            return scheduler.walk(x, grid, denoise, self.run.noise)
        except BaseException as error:
            self._met.hear(error, scheduler)
            raise

    def _finished(self, hooks: RunHooks, x: Tensor) -> Tensor:
        with self._owners.blamed(hooks, AFTER):
            end = hooks.finish(x)
            return end if end is x else guards.as_x(hooks, end, x, "the final latents are as x is")

    def _loop(self, program: Advance) -> Loop:
        self.conditions()
        return Loop(self.run, self._parts.scheduler, self._guidance, self._conditions, program)


def _callable(part: Any, made: Any, what: str) -> Any:
    if not callable(made):
        raise PartError(part, f"what surrounds the {what} gave {brief(made)}, no {what}.")
    return made


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
