"""What a step costs beside the network, in microseconds of a processor, and by the clock.

`shapes` at batch 1 with its own guidance, two branches, latents of 1x4x64x64, 25 steps; a constant
stands for the network. Timed is the walk from the first x to the final latents, with joining the
conditions, once a walk; encoding them, the plan, the first x and decoding are left out. Peers are
the loop of `StableDiffusionPipeline` with Diffusers' scheduler, and k-diffusion's where it can be
imported: the folder of ``--k-diffusion`` is put on the path once Diffusers is loaded, so that what
k-diffusion needs, such as torchvision, is no matter to it. One thread, all in turn, the least of
all walks. Exits 1 where an aim is missed.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import Tensor

from ldm_core import Pipeline
from ldm_core.contracts import Call
from ldm_core.run.sampling import Sampling
from ldm_core.run.weights import Weights
from machine import describe
from timing import Spent, spent

STEPS, RUNS = 25, 200
PROMPT = "a large red circle on a blue background"
SIZE = 512
"""Pixels a side, which make latents of 1x4x64x64."""
AIM = 60
"""Microseconds a step, whichever of these schedulers walks."""
THEIRS = {
    "euler": ("EulerDiscreteScheduler", "sample_euler"),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", "sample_dpmpp_2m"),
    "unipc": ("UniPCMultistepScheduler", None),
    "deis": ("DEISMultistepScheduler", None),
}
"""Of each scheduler, Diffusers' class and k-diffusion's function, where there is one."""
Walk = Callable[[], Spent]
"""What one walk takes, of all its steps."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--k-diffusion", type=Path, help="folder into which pip installed it")
    options = parser.parse_args()
    torch.set_num_threads(1)
    plain = with_constant_network(Pipeline.from_pretrained("shapes"))
    if options.k_diffusion is not None:
        sys.path.append(str(options.k_diffusion))
    walks: dict[tuple[str, str], Walk] = {}
    for name, (cls, function) in THEIRS.items():
        pipe = plain.replace(scheduler=name)
        walks[name, "ldm"] = lambda p=pipe: walked(p)
        walks[name, "diffusers"] = diffusers_loop(cls)
        if function is not None and (walk := k_diffusion_loop(function)) is not None:
            walks[name, "k-diffusion"] = walk
    for walk in walks.values():
        walk()
    costs: dict[tuple[str, str], list[Spent]] = {key: [] for key in walks}
    for _ in range(RUNS):
        for key, walk in walks.items():
            costs[key].append(walk())
    machine = describe("ldm-core", "torch", "diffusers")
    print(machine, f"{RUNS} walks of {STEPS} steps", sep="\n")
    print("scheduler    whose         µs a step   median    aim")
    report: dict[str, Any] = {"machine": machine, "rounds": RUNS, "aim": AIM, "steps": {}}
    missed = []
    for (name, whose), own in costs.items():
        worked = [one.processor / STEPS * 1e6 for one in own]
        clock = statistics.median(one.clock for one in own) / STEPS * 1e6
        least, median = min(worked), statistics.median(worked)
        if whose == "ldm" and least > AIM:
            missed.append(f"{name}: {least:.1f} µs a step, above {AIM}")
        found = {"least": least, "median": median, "median_clock": clock}
        report["steps"].setdefault(name, {})[whose] = found
        print(
            f"{name:12} {whose:12} {least:10.1f} {median:8.1f} {AIM if whose == 'ldm' else '':>6}"
        )
    report["missed"] = missed
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    if missed:
        sys.exit(f"missed: {', '.join(missed)}")


@torch.no_grad()
def diffusers_loop(cls: str) -> Walk:
    """The loop of `StableDiffusionPipeline` around a network that computes nothing."""
    scheduler = getattr(diffusers, cls)(beta_schedule="scaled_linear", steps_offset=1)
    answer = torch.full((2, 4, 64, 64), 0.1)

    @torch.no_grad()
    def steps() -> None:
        x = torch.randn(1, 4, 64, 64) * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            both = scheduler.scale_model_input(torch.cat([x] * 2), t)
            assert len(both) == len(answer)
            negative, positive = answer.chunk(2)
            output = negative + 4.0 * (positive - negative)
            x = scheduler.step(output, t, x, return_dict=False)[0]

    def walk() -> Spent:
        scheduler.set_timesteps(STEPS)
        return spent(steps)

    return walk


def k_diffusion_loop(function: str) -> Walk | None:
    """k-diffusion's loop with its denoiser for models that predict noise, and guidance; None where
    it cannot be imported."""
    try:
        from k_diffusion import external, sampling
    except ImportError as error:
        print(f"k-diffusion is no peer here: {error}")
        return None
    answer = torch.full((2, 4, 64, 64), 0.1)
    alphas = diffusers.DDIMScheduler(beta_schedule="scaled_linear").alphas_cumprod
    model = external.DiscreteEpsDDPMDenoiser(lambda x, t: answer, alphas, quantize=False)

    def guided(x: Tensor, sigma: Tensor) -> Tensor:
        both = model(torch.cat([x] * 2), torch.cat([sigma] * 2))
        negative, positive = both.chunk(2)
        return negative + 4.0 * (positive - negative)

    sigmas = model.get_sigmas(STEPS)

    @torch.no_grad()
    def walk() -> Spent:
        x = torch.randn(1, 4, 64, 64) * sigmas[0]
        return spent(lambda: getattr(sampling, function)(guided, x, sigmas, disable=True))

    return walk


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


def walked(pipe: Pipeline) -> Spent:
    """What one walk takes."""
    sampling = start(pipe)
    return spent(lambda: sampling.walk(sampling.x))


if __name__ == "__main__":
    main()
