"""What bfloat16 costs in the final latents, against ``StableDiffusionPipeline`` in bfloat16.

The error is the root mean square distance of the final latents to those of the same program with
everything in float32: same prompts, seeds, scheduler and timesteps. Diffusers keeps the latents in
the network's type between steps, here they are float32 throughout.

Most of that error comes from inside the network, which is the same in both programs. So each run
is made twice: with the whole network in bfloat16, and with float32 inside the UNet, where only what
goes in and comes out is bfloat16. The second tells what the programs themselves lose.
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import replace
from typing import Any

import diffusers
import torch
from torch import Tensor

from ldm_core import Pipeline
from machine import describe

PROMPTS = (
    "a large red circle on a blue background",
    "a small yellow star at the top left on a black background",
    "a large green ring in the center on a white background",
    "a small purple cross at the bottom right on a yellow background",
)
LIMIT = 0.25
SCHEDULERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "euler": ("EulerDiscreteScheduler", "trailing", {}),
    "ddim": ("DDIMScheduler", "trailing", {"set_alpha_to_one": True}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", "trailing", {}),
    "heun": ("HeunDiscreteScheduler", "trailing", {}),
    "unipc": ("UniPCMultistepScheduler", "trailing", {}),
}
"""Our scheduler, Diffusers' class for it, and the spacing and settings that make them one walk."""


def ours(pipe: Pipeline, scheduler: str, steps: int) -> Tensor:
    spacing = SCHEDULERS[scheduler][1]
    chosen = pipe.replace(scheduler=scheduler, spacing=spacing)
    out = chosen(list(PROMPTS), seed=0, num_inference_steps=steps, output_type="latent")
    latents: Tensor = out.images
    return latents.float()


def theirs(pipe: Any, scheduler: str, steps: int, scale: float) -> Tensor:
    name, spacing, settings = SCHEDULERS[scheduler]
    config = {**pipe.scheduler.config, "clip_sample": False, "timestep_spacing": spacing}
    pipe.scheduler = getattr(diffusers, name).from_config({**config, **settings})
    out = pipe(
        list(PROMPTS),
        generator=[torch.Generator().manual_seed(seed) for seed in range(len(PROMPTS))],
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


def distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).square().mean().sqrt())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, nargs="+", default=[25, 100, 250])
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0, 4.0])
    parser.add_argument(
        "--schedulers", nargs="+", choices=list(SCHEDULERS), default=["euler", "ddim", "dpmpp_2m"]
    )
    options = parser.parse_args()
    exact, half = (
        Pipeline.from_pretrained("shapes", dtype=dtype) for dtype in ("float32", "bfloat16")
    )
    device = exact.model.device

    def peer(dtype: torch.dtype) -> Any:
        folder = exact.model.info.folder
        pipe = diffusers.StableDiffusionPipeline.from_pretrained(folder, torch_dtype=dtype)
        pipe.set_progress_bar_config(disable=True)
        return pipe.to(device)

    peer_exact = peer(torch.float32)
    kinds = {
        "bfloat16 throughout": (half, peer(torch.bfloat16)),
        "float32 in the UNet": (
            exact_inside(half, exact),
            exact_unet(peer(torch.bfloat16), peer_exact),
        ),
    }
    print(describe("ldm-core", "diffusers", "torch"), f"device {device}")
    print(f"{len(PROMPTS)} prompts; RMS error of the final latents")
    cases = itertools.product(options.guidance, options.schedulers, options.steps)
    for scale, scheduler, steps in cases:
        guidance = {"name": "classifier_free", "scale": scale}
        truth = ours(exact.replace(guidance=guidance), scheduler, steps)
        peer_truth = theirs(peer_exact, scheduler, steps, scale)
        apart = distance(truth, peer_truth)
        print(
            f"guidance {scale:g}, {scheduler}, {steps} steps "
            f"(in float32 the two are {apart:.0e} apart)"
        )
        for kind, (mine, other) in kinds.items():
            error = distance(ours(mine.replace(guidance=guidance), scheduler, steps), truth)
            peer_error = distance(theirs(other, scheduler, steps, scale), peer_truth)
            ratio = error / peer_error
            above = "" if ratio <= LIMIT else f", above {LIMIT}"
            print(
                f"  {kind}: ldm {error:.4f}, diffusers {peer_error:.4f}, ratio {ratio:.2f}{above}",
                flush=True,
            )


if __name__ == "__main__":
    main()
