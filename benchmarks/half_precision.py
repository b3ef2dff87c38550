"""What half precision costs in the final latents and in time, against Diffusers' own pipeline.

The error is the root mean square distance of the final latents to those of Diffusers' pipeline with
all arithmetic in float32 on the same weights, rounded to half precision: same prompts, seeds,
scheduler and timesteps. Diffusers computes and keeps its latents in half precision. Here latents
are float32, and the networks compute in `compute_dtype`: once in float32, as nothing chosen has it
on a CPU, and once in half precision as Diffusers does, as nothing chosen has it on a GPU.

``weights`` is how far rounding the weights to half precision moves the result by itself, whoever
computes with them; it is part of neither error.

``random`` is a small Stable Diffusion model with random weights; the others ship with the package.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import Tensor

from ldm_core import Pipeline
from machine import describe

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from peers import Decoded
from tiny import write_stable_diffusion

LIMIT = 0.25
SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "euler": ("EulerDiscreteScheduler", {}),
    "ddim": ("DDIMScheduler", {"set_alpha_to_one": True}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
}
"""Our scheduler, Diffusers' class for it, and the settings that make them one walk."""


@dataclass(frozen=True)
class Task:
    """What is drawn with a model: our inputs, and the pipeline that is its peer."""

    inputs: dict[str, list[Any]]
    peer: Any
    guidance: float
    schedulers: tuple[str, ...] = tuple(SCHEDULERS)


TASKS = {
    "random": Task(
        {"prompt": ["a red star", "a blue circle", "a green square", "a yellow star"]},
        diffusers.StableDiffusionPipeline,
        7.5,
    ),
    "shapes": Task(
        {
            "prompt": [
                "a large red circle on a blue background",
                "a small yellow star at the top left on a black background",
                "a large green ring in the center on a white background",
                "a small purple cross at the bottom right on a yellow background",
            ]
        },
        diffusers.StableDiffusionPipeline,
        4.0,
    ),
    # DiTPipeline starts from unit noise, also where a scheduler asks for another scale
    "digits": Task(
        {"class_label": [2, 3, 5, 8]}, diffusers.DiTPipeline, 4.0, ("ddim", "dpmpp_2m", "unipc")
    ),
}

Draw = Callable[[str, int, float], Tensor]
"""``draw(scheduler, steps, guidance)``: the final latents, float32."""


def ours(model: str, task: Task, **choices: Any) -> Draw:
    pipe = Pipeline.from_pretrained(model, spacing="trailing", **choices)

    def draw(scheduler: str, steps: int, guidance: float) -> Tensor:
        chosen = pipe.replace(
            scheduler=scheduler, guidance={"name": "classifier_free", "scale": guidance}
        )
        call: dict[str, Any] = {"num_inference_steps": steps, "output_type": "latent"}
        latents: Tensor = chosen(**task.inputs, seed=0, **call).images
        return latents.cpu()

    return draw


def theirs(
    folder: Path, task: Task, dtype: torch.dtype, compute_dtype: torch.dtype, device: str
) -> Draw:
    pipe = task.peer.from_pretrained(folder, torch_dtype=dtype).to(device, compute_dtype)
    pipe.set_progress_bar_config(disable=True)
    config = dict(pipe.scheduler.config)
    (given,) = task.inputs.values()
    decoded = Decoded(pipe.vae)  # DiTPipeline gives pictures alone

    def draw(scheduler: str, steps: int, guidance: float) -> Tensor:
        name, settings = SCHEDULERS[scheduler]
        same = {"clip_sample": False, "timestep_spacing": "trailing", **settings}
        pipe.scheduler = getattr(diffusers, name).from_config({**config, **same})
        pipe(
            given,
            **noise(pipe, len(given), compute_dtype),
            num_inference_steps=steps,
            guidance_scale=guidance,
            output_type="np",
        )
        return decoded.pop().float().cpu()

    return draw


def noise(pipe: Any, count: int, dtype: torch.dtype) -> dict[str, Any]:
    """What makes Diffusers' pipeline start from our noise, which is drawn in float32.

    Some versions of torch draw other noise in half precision, so it is given, rounded. DiTPipeline
    takes none: with such a torch it cannot be compared.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in range(count)]
    if isinstance(pipe, diffusers.DiTPipeline):
        first = [torch.Generator().manual_seed(0) for _ in range(2)]
        narrow = torch.randn(64, generator=first[0], dtype=dtype)
        wide = torch.randn(64, generator=first[1])
        if not narrow.equal(wide.to(dtype)):
            raise SystemExit("digits: this version of torch draws other noise in half precision.")
        return {"generator": generators}
    side = pipe.unet.config.sample_size
    shape = (1, pipe.unet.config.in_channels, side, side)
    draws = torch.cat([torch.randn(shape, generator=each) for each in generators])
    return {"latents": draws.to(pipe.device, dtype)}


def distance(one: Tensor, truth: Tensor) -> float:
    return float((one - truth).square().mean().sqrt() / truth.std())


class Programs:
    """A model in each program, and their errors.

    Args:
        source: what `Pipeline.from_pretrained` is told.
    """

    def __init__(self, model: str, source: str, dtype: str, device: str) -> None:
        self.task, half = TASKS[model], getattr(torch, dtype)
        folder = Pipeline.from_pretrained(source, device=device).composition.info.folder
        self.truth = theirs(folder, self.task, half, torch.float32, device)
        self.unrounded = ours(source, self.task, device=device)
        self.timed = {
            "diffusers": theirs(folder, self.task, half, half, device),
            "wide": ours(source, self.task, dtype=dtype, compute_dtype="float32", device=device),
            "half": ours(source, self.task, dtype=dtype, compute_dtype=dtype, device=device),
        }
        self.seconds: Counter[str] = Counter()

    def errors(self, scheduler: str, steps: int, guidance: float) -> dict[str, float]:
        """Of each program, and what rounding the weights moves."""
        call = (scheduler, steps, guidance)
        exact = self.truth(*call)
        found = {}
        for name, draw in self.timed.items():
            began = time.perf_counter()
            latents = draw(*call)
            self.seconds[name] += time.perf_counter() - began
            found[name] = distance(latents, exact)
        return {**found, "weights": distance(self.unrounded(*call), exact)}


def compare(model: str, source: str, options: argparse.Namespace) -> list[float]:
    """Print the errors of one model; the ratios of what computing in float32 gives."""
    programs = Programs(model, source, options.dtype, options.device)
    scales = options.guidance or [1.0, programs.task.guidance]
    schedulers = [name for name in options.schedulers if name in programs.task.schedulers]
    ratios = []
    for scale, scheduler, steps in itertools.product(scales, schedulers, options.steps):
        errors = programs.errors(scheduler, steps, scale)
        ratio, in_half = (errors[name] / errors["diffusers"] for name in ("wide", "half"))
        ratios.append(ratio)
        above = "" if ratio <= LIMIT else f", above {LIMIT}"
        print(
            f"  guidance {scale:g}, {scheduler}, {steps} steps: diffusers "
            f"{errors['diffusers']:.1e}, ldm {errors['wide']:.1e} ({ratio:.4f}{above}), computing "
            f"in {options.dtype} {errors['half']:.1e} ({in_half:.2f}); weights "
            f"{errors['weights']:.1e}",
            flush=True,
        )
    seconds = programs.seconds
    each = (f"{name} {seconds[key] / seconds['diffusers']:.2f}" for key, name in NAMES.items())
    print(f"  seconds, over those of diffusers: {', '.join(each)}")
    return ratios


NAMES = {"wide": "ldm", "half": "ldm computing in half precision"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=["bfloat16", "float16"], default="bfloat16")
    parser.add_argument("--steps", type=int, nargs="+", default=[25, 50])
    parser.add_argument("--guidance", type=float, nargs="+", help="1 and the model's own")
    parser.add_argument("--schedulers", nargs="+", choices=list(SCHEDULERS), default=[*SCHEDULERS])
    options = parser.parse_args()
    print(describe("ldm-core", "diffusers", "torch"))
    print("4 pictures; RMS error of the final latents, in their standard deviations")
    with tempfile.TemporaryDirectory() as folder:
        write_stable_diffusion(Path(folder))
        for model in options.models:
            print(f"model {model}, {options.dtype}")
            ratios = compare(model, folder if model == "random" else model, options)
            print(f"  ratio to diffusers' error: at most {max(ratios):.4f}; the aim is {LIMIT}")


if __name__ == "__main__":
    main()
