"""A walk by its table: one program for every step, in which nothing waits for a number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ldm_core.composition.linear import EDGE, NOISES, as_recurrence
from ldm_core.contracts import Bound, Call, Grid, Network, Run, RunHooks, Scheduler, Step
from ldm_core.errors import LdmError
from ldm_core.numerics.grid import intervals_behind
from ldm_core.plugins.owners import Owners
from ldm_core.run.conditions import Conditions
from ldm_core.run.finite import Finiteness
from ldm_core.run.loop_table import Table, start_of, table


class Asked(NamedTuple):
    """One call of a network in a step.

    Attributes:
        branches: how many are answered, for all images each.
    """

    network: Network
    condition: Mapping[str, Tensor]
    branches: int


def advance(
    asked: Sequence[Asked],
    learned_variance: bool,
    values: Tensor,
    noises: Tensor,
    rows: Tensor,
    t: Tensor,
    answers: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """One evaluation of the denoiser, and all that the walk does until the next.

    Args:
        values: what the walk keeps, x first, (values, batch, ...).
        noises: drawn before, (noises, batch, ...).
        rows, t, answers: of this step, see `Table`.
    Returns:
        The values after the step, the estimate (batch, ...), and the largest absolute number of
        x, each answer and the estimate for each image, (2 + branches, batch).
    """
    x = values[0]
    outputs: list[Tensor] = []
    for network, condition, branches in asked:
        several = torch.cat([x] * branches) if branches > 1 else x
        output = network(Call(several, t.expand(len(several)), condition, ()))
        if learned_variance:
            output = output.chunk(2, dim=1)[0]
        outputs += output.chunk(branches)
    x0 = answers[0] * x
    for i, output in enumerate(outputs):
        x0 = x0 + answers[i + 1] * output
    columns = rows.reshape(*rows.shape, *[1] * x.ndim).unbind(1)
    after = columns[0] * x
    for column, value in zip(columns[1:], [*values[1:], *noises, x0], strict=True):
        after = after + column * value
    sizes = torch.stack([each.flatten(1).abs().amax(1) for each in (x, *outputs, x0)])
    return after, x0, sizes


Advance = Callable[..., tuple[Tensor, Tensor, Tensor]]
"""`advance`, or a program made of it."""


class Loop:
    """What the walks of one run go by.

    Args:
        program: carries out each step.
    Raises:
        LdmError: the guidance asks other networks.
    """

    def __init__(
        self,
        run: Run,
        scheduler: Scheduler,
        guidance: Bound,
        conditions: Conditions,
        program: Advance,
    ) -> None:
        if guidance.networks:
            raise LdmError(
                "the guidance asks another network than the model's, or one with other layers, "
                "which a program for all steps does not hold.",
                EDGE,
            )
        self._run = run
        self._scheduler = scheduler
        self._guidance = guidance
        self._conditions = conditions
        self._program = program

    def walk(
        self,
        x: Tensor,
        grid: Grid,
        finite: Finiteness,
        tellers: Sequence[Callable[[Step], None]] = (),
    ) -> Tensor:
        """x carried along a grid, (batch, channels, ...) float32.

        Args:
            finite: hears of all evaluations once the walk is done.
        Raises:
            LdmError: the scheduler or the guidance is not linear, or the images' conditions differ
                in shape.
        """
        walk = as_recurrence(self._scheduler, grid)
        info = self._run.model.info
        numbers = table(walk, self._guidance, info.prediction_type, self._order, x.device)
        asked = {names: self._asked(names) for names in dict.fromkeys(numbers.branches)}
        values = start_of(walk, x, self._run.noise)
        noises = self._noises(x, numbers)
        heard: list[Tensor] = []
        for i, point in enumerate(numbers.points):
            names = numbers.branches[i]
            before = values
            values, x0, sizes = self._program(
                asked[names],
                info.learned_variance,
                values,
                noises[i],
                numbers.rows[i],
                numbers.t[i],
                numbers.answers[i, : 1 + len(names)],
            )
            heard.append(sizes)
            if tellers:
                step = Step(i, intervals_behind(self._run.grid, point), point, before[0], x0)
                for tell in tellers:
                    tell(step)
        last = max(len(self._run.grid) - 2, 0)
        finite.step = lambda point: min(intervals_behind(self._run.grid, point), last)
        for sizes, point, names in zip(heard, numbers.points, numbers.branches, strict=True):
            finite.measured(sizes, self._order(names), point)
        return values[0].clone()

    def _noises(self, x: Tensor, numbers: Table) -> list[Tensor]:
        """What each step draws, drawn in their order."""
        none = x.new_zeros(NOISES, *x.shape)
        drawn = []
        for count in numbers.noises:
            own = none.clone() if count else none
            for place in range(count):
                own[place] = self._run.noise()
            drawn.append(own)
        return drawn

    def _order(self, names: tuple[str, ...]) -> list[str]:
        return [name for group in self._conditions.groups(names) for name in group.branches]

    def _asked(self, names: tuple[str, ...]) -> tuple[Asked, ...]:
        groups, network = self._conditions.groups(names), self._run.model.network
        if not all(group.whole for group in groups):
            raise LdmError(
                "the conditions of these images differ in shape, such as captions of different "
                "length, and a program for all steps asks for all images at once.",
                "make them one by one (batch_size = 1), or leave the converter out.",
            )
        return tuple(Asked(network, dict(group.condition), len(group.branches)) for group in groups)


def check_hooks(several: Sequence[RunHooks], owners: Owners) -> None:
    """See that nothing surrounds the network or the denoiser of a run step by step.

    Args:
        several: the hooks of conditionings and converters.
        owners: whose they are.
    Raises:
        LdmError: something does.
    """
    for hooks in several:
        own, plugin = type(hooks), owners.of(hooks)
        if own.network is not RunHooks.network or own.denoise is not RunHooks.denoise:
            what = f"{own.__module__}.{own.__qualname__}"
            if plugin is not None:
                what = f"the {plugin.kind} '{plugin.name}'"
            raise LdmError(
                f"{what} surrounds the network or the denoiser and "
                "may look at each step, and a program for all steps has none.",
                "leave out what it belongs to, or the converter of one program for all steps.",
            )
