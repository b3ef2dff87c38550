"""The denoiser: guidance around the network, then x0."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ldm_core.contracts import Bound, Call, Evaluation, Network, Row, Run
from ldm_core.numerics.grid import intervals_behind
from ldm_core.numerics.point import Point
from ldm_core.run.conditions import Conditions, Group
from ldm_core.run.finite import Finiteness

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Denoiser:
    """``denoise(x, point) -> x0`` of a run's model under guidance.

    Args:
        wrap: what is asked in place of each network.
        finite: hears of each evaluation.
    """

    def __init__(
        self,
        run: Run,
        guidance: Bound,
        conditions: Conditions,
        wrap: Callable[[Network], Network] = lambda network: network,
        finite: Finiteness | None = None,
    ) -> None:
        self._run = run
        self._info = run.model.info
        self._guidance = guidance
        self._conditions = conditions
        self._network = wrap(run.model.network)
        self._others = {branch: wrap(other) for branch, other in guidance.networks.items()}
        self._last = max(len(run.grid) - 2, 0)
        self._index = {point: i for i, point in enumerate(run.grid)}
        self._t: dict[int, Sequence[Tensor]] = {}
        self._variance: Tensor | None = None
        self._finite = finite

    def __call__(self, x: Tensor, point: Point) -> Tensor:
        branches = self._guidance.branches(point)
        own = tuple(b for b in branches if b not in self._others) if self._others else branches
        outputs = self._answers(self._network, x, point, own) if own else {}
        for branch in branches if self._others else ():
            if branch in self._others:
                outputs |= self._answers(self._others[branch], x, point, (branch,))
        if self._info.learned_variance:
            halves = {name: output.chunk(2, dim=1) for name, output in outputs.items()}
            outputs = {name: half[0] for name, half in halves.items()}
            self._variance = halves["positive" if "positive" in halves else branches[-1]][1]
        x0 = self._guidance.x0(outputs, Evaluation(x, point, self._info.prediction_type))
        if self._finite is not None:
            self._finite.evaluated(x, outputs, x0, point)
        return x0

    def variance(self) -> Tensor | None:
        """See `learned_variance`; the positive branch's, as in Diffusers."""
        return self._variance

    def _answers(
        self, network: Network, x: Tensor, point: Point, branches: tuple[str, ...]
    ) -> dict[str, Tensor]:
        """A network's answer for each branch, in one call those whose conditions are of one
        shape."""
        groups = self._conditions.groups(branches)
        if len(groups) == 1 and groups[0].whole:
            output = network(self._call(groups[0], x, point))
            names = groups[0].branches
            if len(names) == 1:
                return {names[0]: output}
            return dict(zip(names, output.chunk(len(names)), strict=True))
        answers: dict[str, Tensor] = {}
        for group in groups:
            output = network(self._call(group, x, point))
            if group.whole:
                answers |= zip(group.branches, output.chunk(len(group.branches)), strict=True)
            else:
                _scatter(output, group, len(x), answers)
        return {branch: answers[branch] for branch in branches} if len(groups) > 1 else answers

    def _call(self, group: Group, x: Tensor, point: Point) -> Call:
        import torch

        if not group.whole:
            x = x[[image for image, _ in group.rows]]
        elif len(group.branches) > 1:
            x = torch.cat([x] * len(group.branches))
        step, steps = self.step(point), len(self._run.grid) - 1
        rows = tuple([Row(*whose, point, step, steps) for whose in group.rows])
        return Call(x, self._timesteps(len(rows), point, x.device), group.condition, rows)

    def _timesteps(self, rows: int, point: Point, device: torch.device) -> Tensor:
        """The timestep of a point for so many rows, (rows,) float32; those of the grid are made
        together."""
        import torch

        index = self._index.get(point)
        if index is None:
            return torch.full((rows,), point.t, device=device)
        if rows not in self._t:
            ts = torch.tensor([[own.t] * rows for own in self._run.grid], device=device)
            self._t[rows] = ts.unbind()
        return self._t[rows][index]

    def step(self, point: Point) -> int:
        """The interval of the grid in which a point lies."""
        index = self._index.get(point)
        return min(intervals_behind(self._run.grid, point) if index is None else index, self._last)


def _scatter(output: Tensor, group: Group, images: int, answers: dict[str, Tensor]) -> None:
    """Put the rows of an answer where their images stand in those of their branches."""
    for row, (image, branch) in enumerate(group.rows):
        if branch not in answers:
            answers[branch] = output.new_empty((images, *output.shape[1:]))
        answers[branch][image] = output[row]
