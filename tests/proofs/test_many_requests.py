"""Requests of other samplers, step counts and guidance whose rows share calls of the network."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import torch

from ldm_core import Pipeline
from ldm_core.contracts import Call, Network, concatenate
from ldm_core.run.weights import Weights

RUNS: list[dict[str, Any]] = [
    {"scheduler": "euler", "num_inference_steps": 8},
    {"scheduler": "dpmpp_2m", "num_inference_steps": 6},
    {"scheduler": "heun", "num_inference_steps": 5},
    {"scheduler": "unipc", "num_inference_steps": 9},
    {"scheduler": "ddim", "num_inference_steps": 7, "guidance": "none"},
    {"scheduler": "deis", "num_inference_steps": 6, "guidance": "cfg_zero_star"},
    {"scheduler": "euler_ancestral", "num_inference_steps": 8, "spacing": "karras"},
    {"scheduler": "lms", "num_inference_steps": 10, "guidance": "adaptive_projected"},
]


class Together:
    """A network for several runs: a call waits until every run that is left has one, and all are
    answered by one call of the network, rows after rows."""

    def __init__(self, network: Network, runs: int) -> None:
        self._network = network
        self._left = runs
        self._calls: dict[int, Call] = {}
        self._answers: dict[int, torch.Tensor] = {}
        self._ready = threading.Condition()
        self.sizes: list[int] = []
        self.mixed = 0

    def __call__(self, call: Call) -> torch.Tensor:
        me = threading.get_ident()
        with self._ready:
            self._calls[me] = call
            if len(self._calls) == self._left:
                self._answer()
            while me not in self._answers:
                self._ready.wait()
            return self._answers.pop(me)

    def leave(self) -> None:
        """One run is done."""
        with self._ready:
            self._left -= 1
            if self._calls and len(self._calls) == self._left:
                self._answer()

    def _answer(self) -> None:
        calls = list(self._calls.values())
        joined = Call(
            torch.cat([call.x for call in calls]),
            torch.cat([call.t for call in calls]),
            concatenate([call.condition for call in calls]),
            tuple(row for call in calls for row in call.rows),
        )
        self.sizes.append(len(joined.rows))
        self.mixed += len({row.point for row in joined.rows}) > 1
        outputs = self._network(joined).split([len(call.x) for call in calls])
        self._answers |= dict(zip(self._calls, outputs, strict=True))
        self._calls.clear()
        self._ready.notify_all()


def test_each_run_is_what_it_is_alone(pipe: Pipeline) -> None:
    pipes = [pipe.replace(**choices) for choices in RUNS]
    prompts = ["a red star", "a blue circle", "a green square", "a yellow star"] * 2
    alone = [
        p(prompt, seed=i, output_type="latent").images
        for i, (p, prompt) in enumerate(zip(pipes, prompts, strict=True))
    ]
    together = Together(pipe.model.network, len(RUNS))
    weights = Weights.of(replace(pipe.model, network=together))

    def run(number: int) -> torch.Tensor:
        shared = replace(pipes[number], weights=weights)
        try:
            return shared(prompts[number], seed=number, output_type="latent").images
        finally:
            together.leave()

    with ThreadPoolExecutor(len(RUNS)) as pool:
        found: list[torch.Tensor] = list(pool.map(run, range(len(RUNS))))
    for one, other in zip(found, alone, strict=True):
        assert float((one - other).norm() / other.norm()) < 1e-5
    evaluations = [8, 6, 9, 9, 7, 5, 8, 10]  # a second one in each step of heun but the last
    assert len(together.sizes) == max(evaluations)
    assert together.mixed >= max(evaluations) - 1
    assert together.sizes[0] >= 13  # eight runs, most of two branches
