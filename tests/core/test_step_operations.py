"""What a step costs beside its network: how many operations of torch it makes.

On latents of usual size each takes 2 to 4 µs, whatever it computes, and the count is the same on
any machine. Constants and timesteps are made once a walk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ldm_core import Pipeline
from ldm_core.contracts import Call
from ldm_core.run.sampling import Sampling
from ldm_core.run.weights import Weights

DENOISER = {"cat": 1, "split": 1, "lerp": 1, "mul": 1, "add_": 1, "view": 1, "dot": 1, "_local": 1}
"""Joining two branches, taking them apart, guidance, x0 (two), and seeing that it is finite."""
OPERATIONS = {
    "euler": {"mul": 1, "add_": 1},
    "dpmpp_2m": {"mul": 1, "add_": 2},
    "unipc": {"mul": 1, "add_": 3},
    "deis": {"mul": 1, "add_": 3},
}
"""Of the scheduler: one for each tensor that the next x is a sum of."""


class Counting(TorchDispatchMode):
    """Counts operations by their name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        self.counts[func.overloadpacket.__name__.removesuffix("_scalar_dense")] += 1
        return func(*args, **(kwargs or {}))


def sampling(pipe: Pipeline, steps: int) -> Sampling:
    """A run of two branches whose network computes nothing."""
    shape = pipe.start(pipe.composition.plan({"prompt": ["a star"]}, [0], {}, steps)).x.shape
    answer = torch.full((2 * shape[0], *shape[1:]), 0.1)

    def constant(call: Call) -> Tensor:
        return answer

    weights = Weights.of(replace(pipe.model, network=constant))
    own = replace(pipe, weights=weights, unconverted=weights)
    return own.start(own.composition.plan({"prompt": ["a star"]}, [0], {}, steps))


def counted(pipe: Pipeline, steps: int) -> Counter[str]:
    own = sampling(pipe, steps)
    own.walk(own.x)  # makes the constants
    with Counting() as counting:
        own.walk(own.x)
    return counting.counts


@pytest.mark.parametrize("scheduler", OPERATIONS)
def test_a_step_makes_no_more_operations_than_it_needs(pipe: Pipeline, scheduler: str) -> None:
    pipe = pipe.replace(scheduler=scheduler, guidance={"scale": 4.0})
    fewer, more = counted(pipe, 20), counted(pipe, 30)
    a_step = {name: (more[name] - fewer[name]) / 10 for name in more if more[name] != fewer[name]}
    assert a_step == dict(Counter(DENOISER) + Counter(OPERATIONS[scheduler]))
