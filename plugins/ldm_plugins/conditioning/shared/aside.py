"""Answers of a network under another condition, mixed into the guided ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ldm_core.contracts import Call, Condition, Denoise, Evaluation, Network, Run, RunHooks
from ldm_core.contracts.network import POSITIVE
from ldm_core.errors import LdmError
from ldm_core.numerics.point import Point
from ldm_plugins.conditioning.shared.calls import Selection, Whose, whose

if TYPE_CHECKING:
    from torch import Tensor


class Aside(RunHooks):
    """Mixes into each guided estimate what the network says under a further condition, which no
    guidance sees.

    Args:
        conditions: of each image that has one, by its place, of a single row.
        shares: of the guided estimate, by the same.
        called: the branch, by which a cache tells these answers from others.
    """

    def __init__(
        self,
        run: Run,
        conditions: Mapping[int, Condition],
        shares: Mapping[int, float],
        called: str,
    ) -> None:
        self._prediction_type = run.model.info.prediction_type
        self._conditions = conditions
        self._shares = shares
        self._called = called
        self._selections: dict[Whose, list[tuple[int, Selection]]] = {}
        self._answers: dict[int, Tensor] = {}

    def network(self, network: Network) -> Network:
        def beside(call: Call) -> Tensor:
            answer = network(call)
            for image, select in self._asked(call):
                rows = select(call)
                named = tuple([row._replace(branch=self._called) for row in rows.rows])
                self._answers[image] = network(rows._replace(rows=named))[0]
            return answer

        return beside

    def denoise(self, denoise: Denoise) -> Denoise:
        def mixed(x: Tensor, point: Point) -> Tensor:
            import torch

            self._answers.clear()
            guided = denoise(x, point)
            if self._answers.keys() != self._conditions.keys():
                raise LdmError(
                    "the guidance asks nothing of the prompt alone, into which a share of it could "
                    "be mixed.",
                    "take another guidance, or leave audio_cover_strength out.",
                )
            each = list(guided.unbind())
            for image, output in self._answers.items():
                at = Evaluation(x[image], point, self._prediction_type)
                each[image] = torch.lerp(at.x0(output), each[image], self._shares[image])
            return torch.stack(each)

        return mixed

    def _asked(self, call: Call) -> list[tuple[int, Selection]]:
        """What is asked beside a call, laid out once for all that have its rows."""
        key = whose(call)
        if key not in self._selections:
            self._selections[key] = [
                (image, Selection([place], last=self._conditions[image]))
                for place, (image, branch) in enumerate(key)
                if branch == POSITIVE and image in self._conditions
            ]
        return self._selections[key]
