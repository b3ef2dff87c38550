"""The denoiser: guidance around the network, then x0."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ldm_core.contracts import Bound, Call, Evaluation, Network, Row, Run
from ldm_core.numerics.grid import intervals_behind
from ldm_core.numerics.point import Point
from ldm_core.run.conditions import Conditions, Group
from ldm_core.run.finite import Finiteness


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
        self._grid = run.grid
        self._info = info = run.model.info
        self._prediction_type = info.prediction_type
        self._learned_variance = info.learned_variance
        self._guidance = guidance
        self._conditions = conditions
        self._network = wrap(conditions.answering(run.model.network))
        others = guidance.networks.items()
        self._others = {branch: wrap(conditions.answering(other)) for branch, other in others}
        self._steps = len(run.grid) - 1
        self._last = max(self._steps - 1, 0)
        self._points = tuple(run.grid)
        self._place = 0  # in them, of the point that was asked for last
        self._t: dict[int, Sequence[Tensor]] = {}
        self._variance: Tensor | None = None
        self._finite = finite

    def __call__(self, x: Tensor, point: Point) -> Tensor:
        branches = self._guidance.branches(point)
        if not self._others:
            outputs = self._answers(self._network, x, point, branches)
        else:
            own = tuple(branch for branch in branches if branch not in self._others)
            outputs = self._answers(self._network, x, point, own) if own else {}
            for branch in branches:
                if branch in self._others:
                    outputs |= self._answers(self._others[branch], x, point, (branch,))
        if self._learned_variance:
            halves = {name: output.chunk(2, dim=1) for name, output in outputs.items()}
            outputs = {name: half[0] for name, half in halves.items()}
            self._variance = halves["positive" if "positive" in halves else branches[-1]][1]
        x0 = self._guidance.x0(outputs, Evaluation(x, point, self._prediction_type))
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
        answers: dict[str, Tensor] = {}
        for group in groups:
            output, names = network(self._call(group, x, point)), group.branches
            if not group.whole:
                _scatter(output, group, len(x), answers)
            elif len(names) == 1:
                answers[names[0]] = output
            else:
                answers.update(zip(names, output.chunk(len(names)), strict=True))
        return {branch: answers[branch] for branch in branches} if len(groups) > 1 else answers

    def _call(self, group: Group, x: Tensor, point: Point) -> Call:
        whose = group.rows
        if not group.whole:
            x = x[[image for image, _ in whose]]
        elif len(group.branches) > 1:
            x = torch.cat([x] * len(group.branches))
        index, steps = self._index(point), self._steps
        if index is None:
            t, step = torch.full((len(whose),), point.t, device=x.device), self.step(point)
        else:
            t, step = self._timesteps(len(whose), x.device)[index], min(index, self._last)
        rows = tuple([Row(image, branch, point, step, steps) for image, branch in whose])
        return Call(x, t, group.condition, rows)

    def _timesteps(self, rows: int, device: torch.device) -> Sequence[Tensor]:
        """The timestep of each point of the grid for so many rows, (rows,) float32, made
        together."""
        ts = self._t.get(rows)
        if ts is None:
            t = torch.tensor([point.t for point in self._grid], device=device)
            ts = self._t[rows] = t[:, None].expand(-1, rows).contiguous().unbind()
        return ts

    def _index(self, point: Point) -> int | None:
        """The place of a point in the grid, None where it is none of the grid's; a walk asks for
        the one that it asked for last, or for the next."""
        points, place = self._points, self._place
        if points[place] is not point:
            place += 1
            if place == len(points) or points[place] is not point:
                if point not in points:
                    return None
                place = points.index(point)
            self._place = place
        return place

    def step(self, point: Point) -> int:
        """The interval of the grid in which a point lies."""
        index = self._index(point)
        return min(intervals_behind(self._grid, point) if index is None else index, self._last)


def _scatter(output: Tensor, group: Group, images: int, answers: dict[str, Tensor]) -> None:
    """Put the rows of an answer where their images stand in those of their branches."""
    for row, (image, branch) in enumerate(group.rows):
        if branch not in answers:
            answers[branch] = output.new_empty((images, *output.shape[1:]))
        answers[branch][image] = output[row]
