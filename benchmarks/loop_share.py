"""What the loop adds to its network: N steps against N bare calls of the network, by CPU seconds.

A UNet of 53 M random weights on latents of 1x4x64x64 takes the place of the network of `shapes`,
under the guidance of `shapes`, so that a call has two rows. Walks and bare calls are interleaved,
either first in every other round, one thread; the least and the median of the rounds' ratios are
shown. Other load moves two runs of a network apart by more than the loop takes, so what the
ordinary walk spends outside its network calls is shown too, as a share of them. Exits 1 where N
steps of the ordinary walk take more than 1.01 of N bare calls, in the median.

With ``--ways whole_loop`` a step that is traced, and not compiled further, is shown too;
with ``--ways compile`` the network compiled by inductor, block by block. Both need seconds to
minutes before their first step.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from ldm_core import Pipeline
from ldm_core.contracts import Call, Model, Network
from ldm_core.run.weights import Weights
from machine import describe
from timing import Spent, spent

STEPS, ROUNDS, SIZE, AIM = 3, 7, 512, 1.01
PROMPT = "a large red circle on a blue background"
CHOICES = {"whole_loop": {"name": "whole_loop", "backend": "eager"}, "compile": "compile"}


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ways", nargs="+", choices=list(CHOICES), default=[], help="shown too")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    pipe = with_network(Pipeline.from_pretrained("shapes"), quarter_size(128))
    pipes = {"the walk": pipe}
    for name in options.ways:
        pipes[name] = pipe.replace(converters=[CHOICES[name]])
    runs: dict[str, Callable[[], Any]] = {}
    firsts: list[Tensor] = []
    for name, one in pipes.items():
        sampling = start(one)
        began = time.perf_counter()
        firsts.append(sampling.walk(sampling.x))
        took, apart = time.perf_counter() - began, float((firsts[-1] - firsts[0]).abs().max())
        print(f"{name:12} first walk {took:.1f} s, apart by {apart:.1e}", flush=True)
        runs[name] = lambda own=sampling: own.walk(own.x)
    call = bare_call(pipe)
    network = pipe.model.network
    inside = Inside(network)
    watched = start(of_model(pipe, replace(pipe.model, network=inside)))
    outside = []
    seconds: dict[str, list[Spent]] = {name: [] for name in ("bare", *runs)}

    def bare_calls() -> None:
        for _ in range(STEPS):
            network(call)

    for number in range(options.rounds):
        for name, run in runs.items():
            pair = [(name, run), ("bare", bare_calls)]
            for which, one in pair if number % 2 == 0 else reversed(pair):
                seconds[which].append(spent(one))
        inside.seconds = 0.0
        whole = spent(lambda: watched.walk(watched.x)).processor
        outside.append(whole / inside.seconds - 1)
    machine = describe("ldm-core", "torch", "diffusers")
    print(machine, f"{options.rounds} rounds of {STEPS} steps", sep="\n")
    report: dict[str, Any] = {"machine": machine, "rounds": options.rounds, "ways": {}}
    bare = seconds.pop("bare")
    missed: list[str] = []
    for place, (name, own) in enumerate(seconds.items()):
        beside = bare[place :: len(runs)]
        pairs = list(zip(own, beside, strict=True))
        median = statistics.median(a.processor / b.processor for a, b in pairs)
        least = min(a.processor for a in own) / min(b.processor for b in beside)
        if name == "the walk" and median > AIM:
            missed.append(f"{name}: {median:.4f} of the bare calls, above {AIM}")
        report["ways"][name] = {
            "least": least,
            "median": median,
            "median_clock": statistics.median(a.clock / b.clock for a, b in pairs),
            "processor": statistics.median(a.processor for a in own),
            "seconds": statistics.median(a.clock for a in own),
        }
        print(f"{name:12} least {least:.4f}, median {median:.4f} of {STEPS} bare calls")
    share = {"least": min(outside), "median": statistics.median(outside)}
    report["outside"] = share
    print(f"outside its network calls the walk spends {share['median']:.5f} of them in the median")
    report["missed"] = missed
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    if missed:
        sys.exit(f"missed: {', '.join(missed)}")


def quarter_size(width: int) -> UNet2DConditionModel:
    """The network of Stable Diffusion 1.5 with a quarter of its channels."""
    torch.manual_seed(0)
    return (
        UNet2DConditionModel(
            sample_size=64,
            block_out_channels=(80, 160, 320, 320),
            attention_head_dim=8,
            cross_attention_dim=width,
            norm_num_groups=16,
        )
        .eval()
        .requires_grad_(False)
    )


def with_network(pipe: Pipeline, unet: UNet2DConditionModel) -> Pipeline:
    part = pipe.model.parts["unet"]
    return of_model(pipe, pipe.model.replaced({"unet": replace(part, module=unet)}))


def of_model(pipe: Pipeline, model: Model) -> Pipeline:
    weights = Weights.of(model)
    return replace(pipe, weights=weights, unconverted=weights)


class Inside:
    """A network, and the seconds of processor time that its calls took."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.seconds = 0.0

    def __call__(self, call: Call) -> Tensor:
        began = time.process_time()
        answer = self.network(call)
        self.seconds += time.process_time() - began
        return answer


def start(pipe: Pipeline) -> Any:
    extent = {"height": SIZE, "width": SIZE}
    sampling = pipe.start(pipe.composition.plan({"prompt": [PROMPT]}, [0], extent, STEPS))
    sampling.conditions()
    return sampling


@torch.no_grad()
def bare_call(pipe: Pipeline) -> Call:
    """The call that a step makes, ready."""
    sampling = start(pipe)
    text: Tensor = torch.cat([condition["text"] for condition in sampling.conditions().values()])
    x = torch.cat([sampling.x] * len(text))
    return Call(x, torch.full((len(x),), 500.0), {"text": text}, ())


if __name__ == "__main__":
    main()
