"""Half precision: error of the final latents against Diffusers' own pipeline in half precision, and
weights that are kept in it and computed with in float32."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from half_precision import Programs
from on_gpu.bench import Bench, Figures, apart, median, ratio, tf32
from stored_weights import BATCH, mebibytes, networks
from tiny import write_stable_diffusion

FULL = (320, 640, 1280, 1280)
SCHEDULERS, STEPS, ROUNDS = ("euler", "dpmpp_2m"), 25, 5


def errors(bench: Bench, model: str, source: str, dtype: str) -> Figures:
    """Root mean square over the latents' standard deviation, with guidance and without."""
    programs = Programs(model, source, dtype, bench.device)
    steps = 3 if bench.quick else STEPS
    programs.errors(SCHEDULERS[0], 2, 1.0)  # starting up is not timed
    programs.seconds.clear()
    figures: dict[str, Any] = {}
    for scale, name in itertools.product((programs.task.guidance, 1.0), SCHEDULERS):
        found = programs.errors(name, steps, scale)
        case = f"{name}, guidance {scale:g}"
        figures[f"{case}: diffusers"] = found["diffusers"]
        figures[f"{case}: computing in {dtype}, over diffusers"] = (
            found["half"] / found["diffusers"]
        )
        figures[f"{case}: computing in float32, over diffusers"] = (
            found["wide"] / found["diffusers"]
        )
        figures[f"{case}: rounding the weights"] = found["weights"]
    for key, name in (("half", dtype), ("wide", "float32")):
        took = programs.seconds[key] / programs.seconds["diffusers"]
        figures[f"computing in {name}: time over diffusers"] = took
    return figures


@torch.no_grad()
def kept_narrow(bench: Bench) -> None:
    """A row for each way to hold the weights of a UNet of Stable Diffusion 1.5's size."""
    side = 16 if bench.quick else 64
    channels = (32, 64, 64, 64) if bench.quick else FULL
    held = networks(channels, bench.device)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH, 4, side, side, generator=generator).to(bench.device)
    text = torch.randn(BATCH, 77, 768, generator=generator).to(bench.device)

    def call(name: str) -> Callable[[], torch.Tensor]:
        network, dtype = held[name]
        t = torch.tensor(500, device=bench.device)
        return lambda: network(x.to(dtype), t, text.to(dtype)).sample

    exact = call("float32")().float()
    for name in held:

        def one(name: str = name) -> Figures:
            runs = {"own": call(name), "float32": call("float32")}
            error = apart(runs["own"]().float(), exact)
            times = bench.in_turn(runs, 1 if bench.quick else ROUNDS)
            _, peak = bench.peak(runs["own"])
            return {
                "error": error,
                "weights_mib": mebibytes(held[name][0]),
                "milliseconds": median(times["own"]) * 1e3,
                "time_over_float32": ratio(times["own"], times["float32"]),
                **({} if peak is None else {"peak_beyond_weights_mib": peak}),
            }

        bench.measure(f"a call, {name}", one)


def run(bench: Bench) -> None:
    with tempfile.TemporaryDirectory() as place, tf32(False):
        random = str(write_stable_diffusion(Path(place)))
        for model, dtype in (("shapes", "bfloat16"), ("shapes", "float16"), ("random", "bfloat16")):
            source = random if model == "random" else model
            bench.measure(
                f"{model}, {dtype}",
                lambda m=model, s=source, d=dtype: errors(bench, m, s, d),
            )
        kept_narrow(bench)
        if bench.cuda:
            with tf32(True):
                bench.measure("float32 with TF32", lambda: rounded(bench))


@torch.no_grad()
def rounded(bench: Bench) -> Figures:
    """Error and time of a float32 call where TF32 is allowed, against one where it is not."""
    network, _ = networks(FULL, bench.device)["float32"]
    x = torch.randn(BATCH, 4, 64, 64, device=bench.device)
    text = torch.randn(BATCH, 77, 768, device=bench.device)

    def call(allowed: bool) -> torch.Tensor:
        with tf32(allowed):
            return network(x, torch.tensor(500, device=bench.device), text).sample

    runs = {"tf32": lambda: call(True), "float32": lambda: call(False)}
    error = apart(runs["tf32"](), runs["float32"]())
    times = bench.in_turn(runs, ROUNDS)
    return {"error": error, "time_over_float32": ratio(times["tf32"], times["float32"])}
