"""What a bfloat16 network costs in the final latents, against ``StableDiffusionPipeline`` in bfloat16.

The error is the root mean square distance of the final latents to those of the same program with
everything in float32: same prompts, seeds, scheduler and timesteps. Diffusers keeps the latents in
the network's type between steps, here they are float32 throughout.
"""

from __future__ import annotations

import argparse
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


def theirs(pipe: Any, scheduler: str, steps: int) -> Tensor:
    name, spacing, settings = SCHEDULERS[scheduler]
    config = {**pipe.scheduler.config, "clip_sample": False, "timestep_spacing": spacing}
    pipe.scheduler = getattr(diffusers, name).from_config({**config, **settings})
    out = pipe(
        list(PROMPTS),
        generator=[torch.Generator().manual_seed(seed) for seed in range(len(PROMPTS))],
        num_inference_steps=steps,
        guidance_scale=SCALE,
        output_type="latent",
    )
    latents: Tensor = out.images
    return latents.float()


def distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).square().mean().sqrt())


SCALE = 4.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, nargs="+", default=[25, 50])
    parser.add_argument("--schedulers", nargs="+", choices=list(SCHEDULERS), default=[*SCHEDULERS])
    options = parser.parse_args()
    guidance = {"name": "classifier_free", "scale": SCALE}
    mine = {
        dtype: Pipeline.from_pretrained("shapes", guidance=guidance, dtype=dtype)
        for dtype in ("float32", "bfloat16")
    }
    peers = {}
    for dtype, pipe in mine.items():
        peer = diffusers.StableDiffusionPipeline.from_pretrained(
            pipe.model.info.folder, torch_dtype=getattr(torch, dtype)
        )
        peer.set_progress_bar_config(disable=True)
        peers[dtype] = peer.to(pipe.model.device)
    device = mine["float32"].model.device
    print(describe("ldm-core", "diffusers", "torch"), f"device {device}")
    print(f"{len(PROMPTS)} prompts, guidance {SCALE:g}; RMS error of the final latents")
    for scheduler in options.schedulers:
        for steps in options.steps:
            mine_exact, mine_half = (ours(mine[d], scheduler, steps) for d in mine)
            peer_exact, peer_half = (theirs(peers[d], scheduler, steps) for d in peers)
            error, peer_error = distance(mine_half, mine_exact), distance(peer_half, peer_exact)
            ratio = error / peer_error
            print(
                f"{scheduler:9} {steps:3} steps: ldm {error:.4f}, diffusers {peer_error:.4f}, "
                f"ratio {ratio:.3f}{'' if ratio <= LIMIT else f'  above {LIMIT}'}"
                f"  (float32 apart by {distance(mine_exact, peer_exact):.1e})",
                flush=True,
            )


if __name__ == "__main__":
    main()
