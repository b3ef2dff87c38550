"""The denoiser: guidance around the network, then x0."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ldm_core.contracts import Conditioning, Evaluation, Guidance, Run
from ldm_core.contracts.family import Condition, Network
from ldm_core.numerics.point import Point
from ldm_core.numerics.prediction import to_x0

if TYPE_CHECKING:
    from torch import Tensor


class Conditions:
    """The condition of each branch, encoded when it is first asked for."""

    def __init__(self, conditioning: Sequence[Conditioning], guidance: Guidance, run: Run) -> None:
        self._conditioning = conditioning
        self._instead: Mapping[str, Mapping[str, Sequence[object]]]
        self._instead = getattr(guidance, "inputs", {})
        self._told: float | None = getattr(guidance, "embedded_scale", None)
        self._run = run
        self._known: dict[str, Condition] = {}

    def of(self, branches: Sequence[str]) -> dict[str, Condition]:
        """The conditions of these branches, by name."""
        missing = [branch for branch in branches if branch not in self._known]
        if own := [branch for branch in missing if branch not in self._instead]:
            self._known |= self._encode(self._run, own)
        for branch in missing:
            inputs = self._instead.get(branch)
            if inputs:
                request = replace(self._run.request, inputs={**self._run.request.inputs, **inputs})
                asked = replace(self._run, request=request)
                self._known[branch] = self._encode(asked, ["positive"])["positive"]
            elif inputs is not None:
                self._known[branch] = self.of(["positive"])["positive"]
        return {branch: self._known[branch] for branch in branches}

    def _encode(self, run: Run, branches: Sequence[str]) -> dict[str, Condition]:
        import torch

        found: dict[str, Condition] = {branch: {} for branch in branches}
        for conditioning in self._conditioning:
            for branch, condition in conditioning.encode(run, branches).items():
                found[branch] = {**found[branch], **condition}
        if self._told is not None:
            scale = torch.full((len(run.request.seeds),), self._told, device=run.model.device)
            found = {branch: {**c, "guidance_scale": scale} for branch, c in found.items()}
        return found


class Denoiser:
    """``denoise(x, point) -> x0`` of a run's model under guidance.

    Args:
        wrap: what is asked in place of each network.
    """

    def __init__(
        self,
        run: Run,
        guidance: Guidance,
        conditions: Conditions,
        wrap: Callable[[Network], Network] = lambda network: network,
    ) -> None:
        self._info = run.model.info
        self._guidance = guidance
        self._conditions = conditions
        self._network = wrap(run.model.network)
        others: Mapping[str, Network] = getattr(guidance, "networks", {})
        self._others = {branch: wrap(network) for branch, network in others.items()}
        self._variance: Tensor | None = None

    def __call__(self, x: Tensor, point: Point) -> Tensor:
        branches = self._guidance.branches(point)
        conditions = self._conditions.of(branches)
        shared = {name: conditions[name] for name in branches if name not in self._others}
        outputs = predict(self._network, x, point, shared) if shared else {}
        for name in branches:
            if name in self._others:
                outputs |= predict(self._others[name], x, point, {name: conditions[name]})
        if self._info.learned_variance:
            halves = {name: output.chunk(2, dim=1) for name, output in outputs.items()}
            outputs = {name: half[0] for name, half in halves.items()}
            self._variance = halves["positive" if "positive" in halves else branches[-1]][1]
        kind = self._info.prediction_type
        output = self._guidance.combine(outputs, Evaluation(x, point, kind))
        return to_x0(kind, output, x, point)

    def variance(self) -> Tensor | None:
        """See `ldm_core.contracts.learned_variance`; the positive branch's, as in Diffusers."""
        return self._variance


def predict(
    network: Network, x: Tensor, point: Point, conditions: Mapping[str, Condition]
) -> dict[str, Tensor]:
    """A network's answer for each branch, in one batch those whose conditions are of one shape.

    Args:
        x: (batch, ...); each condition's tensors have the same batch.
    """
    import torch

    alike: dict[object, list[str]] = {}
    for name, condition in conditions.items():
        shapes = frozenset((key, value.shape[1:]) for key, value in condition.items())
        alike.setdefault(shapes, []).append(name)
    answers: dict[str, Tensor] = {}
    for branches in alike.values():
        keys = conditions[branches[0]].keys()
        joined = {key: torch.cat([conditions[name][key] for name in branches]) for key in keys}
        stacked = x if len(branches) == 1 else torch.cat([x] * len(branches))
        outputs = network(stacked, point, joined)
        answers |= zip(branches, outputs.chunk(len(branches)), strict=True)
    return answers
