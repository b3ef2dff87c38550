"""A run under way: conditions, denoiser, and the walk along the grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

import torch
from torch import Tensor

from ldm_core.composition.compose import Composition
from ldm_core.contracts import Denoise, Edit, Grid, Guidance, Run, Step
from ldm_core.contracts.family import Condition, Network
from ldm_core.errors import LdmError
from ldm_core.numerics.grid import intervals_behind
from ldm_core.numerics.point import Point
from ldm_core.run.attention import in_force
from ldm_core.run.denoiser import Conditions, Denoiser


class Sampling:
    """A run under way: its first x, and the walk from there.

    Attributes:
        run: what it is a run of.
        x: the first x, (batch, channels, ...) float32.
    """

    def __init__(self, composition: Composition, run: Run, x: Tensor | None = None) -> None:
        self._parts = composition
        makers = [getattr(part, "edit", None) for part in composition.conditioning]
        self._edits: list[Edit] = [make(run) for make in makers if make]
        for edit in self._edits:
            run = replace(run, model=edit.model(run.model))
        self.run = run
        self.x = self._first() if x is None else x
        bind = getattr(composition.guidance, "bind", None)
        self._guidance: Guidance = bind(run) if bind else composition.guidance
        self._conditions = Conditions(composition.conditioning, self._guidance, run)

    def _first(self) -> Tensor:
        given = [x for x in (edit.start() for edit in self._edits) if x is not None]
        if len(given) > 1:
            raise LdmError("two conditionings both say where the picture starts; leave one out.")
        return given[0] if given else self.run.noise() * self.run.initial_scale

    def conditions(self) -> dict[str, Condition]:
        """What the network is told, by the names of the guidance's branches."""
        grid = self.run.grid[:-1]
        return self._conditions.of(
            list(dict.fromkeys(b for point in grid for b in self._guidance.branches(point)))
        )

    def denoiser(self, tellers: Sequence[Callable[[Step], None]] = ()) -> Denoise:
        """Conditions, guidance, network and wrappers in one.

        Args:
            tellers: called after each evaluation.
        """

        def wrapped(network: Network) -> Network:
            for edit in self._edits:
                network = edit.network(network)
            return network

        self.conditions()
        network = Denoiser(self.run, self._guidance, self._conditions, wrapped)
        denoise: Denoise = network
        for edit in self._edits:
            denoise = edit.denoise(denoise)
        for wrap in self._parts.denoisers:
            denoise = wrap(denoise)
        return _observed(denoise, self.run.grid, tellers, network.variance)

    @torch.no_grad()
    def walk(
        self,
        x: Tensor,
        start: int = 0,
        stop: int | None = None,
        on_step: Callable[[Step], None] | None = None,
    ) -> Tensor:
        """x carried along the grid, or a part of it, (batch, channels, ...) float32.

        Args:
            start, stop: indices of the grid's points where x is, and where it is to be; the end
                where not given.
            on_step: called after each evaluation of the denoiser.
        """
        grid = self.run.grid
        last = len(grid) - 1 if stop is None else stop
        with ExitStack() as stack:
            stack.enter_context(in_force(self._parts.attention))
            tellers = [stack.enter_context(observer(grid)) for observer in self._parts.observers]
            if on_step is not None:
                tellers.append(on_step)
            part = grid[start : last + 1]
            if len(part) > 1:
                x = self._parts.scheduler(x, part, self.denoiser(tellers), self.run.noise)
            if last == len(grid) - 1:
                for edit in self._edits:
                    x = edit.finish(x)
        return x


def _observed(
    denoise: Denoise,
    grid: Grid,
    tellers: Sequence[Callable[[Step], None]],
    variance: Callable[[], Tensor | None],
) -> Denoise:
    """The denoiser, heard by observers, that still tells the network's variance."""
    calls = 0

    def observed(x: Tensor, point: Point) -> Tensor:
        nonlocal calls
        x0 = denoise(x, point)
        if tellers:
            step = Step(calls, intervals_behind(grid, point), point, x, x0)
            for tell in tellers:
                tell(step)
        calls += 1
        return x0

    setattr(observed, "variance", variance)  # noqa: B010 - read by `learned_variance`
    return observed
