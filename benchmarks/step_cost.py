"""What a step costs beside the network, in microseconds of processor time.

`shapes` at batch 1 with its own guidance, two branches, latents of 1x4x64x64, 25 steps; a constant
stands for the network. Timed is the walk from the first x to the final latents, with joining the
conditions, once a walk; encoding them, the plan, the first x and decoding are left out. One thread,
the schedulers in turn, the least of all walks. Exits 1 where an aim is missed.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import sys
import time
from dataclasses import replace

import torch
from torch import Tensor

from ldm_core import Pipeline
from ldm_core.contracts import Call
from ldm_core.run.sampling import Sampling
from ldm_core.run.weights import Weights
from machine import describe

STEPS, RUNS = 25, 200
PROMPT = "a large red circle on a blue background"
SIZE = 512
"""Pixels a side, which make latents of 1x4x64x64."""
AIM = 60
"""Microseconds a step, whichever of these schedulers walks."""
SCHEDULERS = ("euler", "dpmpp_2m", "unipc", "deis")


def main() -> None:
    torch.set_num_threads(1)
    plain = with_constant_network(Pipeline.from_pretrained("shapes"))
    pipes = {name: plain.replace(scheduler=name) for name in SCHEDULERS}
    for pipe in pipes.values():
        microseconds(pipe)
    costs: dict[str, list[float]] = {name: [] for name in SCHEDULERS}
    for _ in range(RUNS):
        for name, pipe in pipes.items():
            costs[name].append(microseconds(pipe))
    print(describe("ldm-core", "torch"), f"{RUNS} walks of {STEPS} steps", sep="\n")
    print("scheduler    µs a step   median    aim")
    missed = False
    for name, own in costs.items():
        least, median = min(own), sorted(own)[RUNS // 2]
        missed |= least > AIM
        print(f"{name:12} {least:9.1f} {median:8.1f} {AIM:6}")
    sys.exit(1 if missed else 0)


def with_constant_network(pipe: Pipeline) -> Pipeline:
    """The pipeline with a network of two rows that computes nothing."""
    answer = torch.full((2, *start(pipe).x.shape[1:]), 0.1)

    def constant(call: Call) -> Tensor:
        return answer

    weights = Weights.of(replace(pipe.model, network=constant))
    return replace(pipe, weights=weights, unconverted=weights)


def start(pipe: Pipeline) -> Sampling:
    """A run at its first x, its conditions encoded."""
    extent = {"height": SIZE, "width": SIZE}
    sampling = pipe.start(pipe.composition.plan({"prompt": [PROMPT]}, [0], extent, STEPS))
    sampling.conditions()
    return sampling


def microseconds(pipe: Pipeline) -> float:
    """Of one walk, a step."""
    sampling = start(pipe)
    began = time.process_time()
    sampling.walk(sampling.x)
    return (time.process_time() - began) / STEPS * 1e6


if __name__ == "__main__":
    main()
