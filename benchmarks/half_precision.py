"""What bfloat16 costs in the final latents, against ``StableDiffusionPipeline`` in bfloat16.

The error is the root mean square distance of the final latents to those of the same program with
everything in float32: same prompts, seeds, scheduler and timesteps. Diffusers keeps the latents in
the network's type between steps, here they are float32 throughout.

What bfloat16 costs inside the network is the same in both programs, and guidance multiplies it. So
each run is made twice: with the whole network in bfloat16, and with float32 inside the UNet, where
only what goes in and comes out is bfloat16. ``random`` is a small Stable Diffusion model with
random weights, whose answers vary gently, so that the program's own rounding shows.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import Tensor

from ldm_core import Pipeline
from machine import describe

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from tiny import write_stable_diffusion

SHAPES = (
    "a large red circle on a blue background",
    "a small yellow star at the top left on a black background",
    "a large green ring in the center on a white background",
    "a small purple cross at the bottom right on a yellow background",
)
WORDS = ("a red star", "a blue circle", "a green square", "a yellow star")
MODELS = ["random", "shapes"]
LIMIT = 0.25
SCHEDULERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "euler": ("EulerDiscreteScheduler", "trailing", {}),
    "ddim": ("DDIMScheduler", "trailing", {"set_alpha_to_one": True}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", "trailing", {}),
    "heun": ("HeunDiscreteScheduler", "trailing", {}),
    "unipc": ("UniPCMultistepScheduler", "trailing", {}),
}
"""Our scheduler, Diffusers' class for it, and the spacing and settings that make them one walk."""


def ours(pipe: Pipeline, prompts: Sequence[str], scheduler: str, steps: int) -> Tensor:
    spacing = SCHEDULERS[scheduler][1]
    chosen = pipe.replace(scheduler=scheduler, spacing=spacing)
    out = chosen(list(prompts), seed=0, num_inference_steps=steps, output_type="latent")
    latents: Tensor = out.images
    return latents.float()


def theirs(pipe: Any, prompts: Sequence[str], scheduler: str, steps: int, scale: float) -> Tensor:
    name, spacing, settings = SCHEDULERS[scheduler]
    config = {**pipe.scheduler.config, "clip_sample": False, "timestep_spacing": spacing}
    pipe.scheduler = getattr(diffusers, name).from_config({**config, **settings})
    out = pipe(
        list(prompts),
        generator=[torch.Generator().manual_seed(seed) for seed in range(len(prompts))],
        num_inference_steps=steps,
        guidance_scale=scale,
        output_type="latent",
    )
    latents: Tensor = out.images
    return latents.float()


def exact_inside(half: Pipeline, exact: Pipeline) -> Pipeline:
    """The half-precision pipeline, with the exact one's UNet behind bfloat16 doors."""
    network = exact.model.network

    def between_doors(x: Tensor, point: Any, condition: Any) -> Tensor:
        widened = {key: value.float() for key, value in condition.items()}
        return network(x.bfloat16().float(), point, widened).bfloat16().float()

    return replace(half, model=replace(half.model, network=between_doors))


def exact_unet(half: Any, exact: Any) -> Any:
    """The same for Diffusers' pipelines; changes the first."""
    unet = exact.unet

    def forward(sample: Tensor, t: Tensor, encoder_hidden_states: Tensor, **_: Any) -> Any:
        out = unet(sample.float(), t, encoder_hidden_states.float(), return_dict=False)[0]
        return (out.to(sample.dtype),)

    half.unet.forward = forward
    return half


def distance(one: Tensor, truth: Tensor) -> float:
    return float((one - truth).square().mean().sqrt() / truth.std())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--steps", type=int, nargs="+", default=[25, 50, 100])
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0])
    parser.add_argument("--schedulers", nargs="+", choices=list(SCHEDULERS), default=[*SCHEDULERS])
    options = parser.parse_args()
    print(describe("ldm-core", "diffusers", "torch"))
    print("4 prompts; RMS error of the final latents, in their standard deviations")
    with tempfile.TemporaryDirectory() as folder:
        for model in options.models:
            if model == "random":
                write_stable_diffusion(Path(folder))
            for scale in options.guidance:
                print(f"model {model}, guidance {scale:g}")
                source = folder if model == "random" else model
                prompts = WORDS if model == "random" else SHAPES
                compare(source, prompts, scale, options.schedulers, options.steps)


def compare(
    model: str, prompts: Sequence[str], scale: float, schedulers: list[str], lengths: list[int]
) -> None:
    guidance = {"name": "classifier_free", "scale": scale}
    exact, half = (
        Pipeline.from_pretrained(model, guidance=guidance, dtype=dtype)
        for dtype in ("float32", "bfloat16")
    )

    def peer(dtype: torch.dtype) -> Any:
        folder = exact.model.info.folder
        pipe = diffusers.StableDiffusionPipeline.from_pretrained(folder, torch_dtype=dtype)
        pipe.set_progress_bar_config(disable=True)
        return pipe.to(exact.model.device)

    peer_exact = peer(torch.float32)
    kinds = {
        "bfloat16 throughout": (half, peer(torch.bfloat16)),
        "float32 in the UNet": (
            exact_inside(half, exact),
            exact_unet(peer(torch.bfloat16), peer_exact),
        ),
    }
    for scheduler, steps in itertools.product(schedulers, lengths):
        truth = ours(exact, prompts, scheduler, steps)
        peer_truth = theirs(peer_exact, prompts, scheduler, steps, scale)
        for kind, (mine, other) in kinds.items():
            error = distance(ours(mine, prompts, scheduler, steps), truth)
            peer_error = distance(theirs(other, prompts, scheduler, steps, scale), peer_truth)
            ratio = error / peer_error
            above = "" if ratio <= LIMIT else f", above {LIMIT}"
            print(
                f"  {scheduler}, {steps} steps, {kind}: ldm {error:.4f}, "
                f"diffusers {peer_error:.4f}, ratio {ratio:.2f}{above}",
                flush=True,
            )


if __name__ == "__main__":
    main()
