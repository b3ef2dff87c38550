"""What caches of features save, and what they cost in likeness.

    python benchmarks/feature_cache.py [speed] [likeness] [--networks unet flux]
        [--ways "feature_cache every 3" ...] [--rounds 3] [--json FILE]

``speed``: a UNet of Stable Diffusion's build with a quarter of its widths (53 M weights, 64x64
latents) and a cut-down Flux (1024 tokens), both with random weights, through the pipeline and with
guidance, each way in turn, on one thread. How many times faster a way is: the median of the rounds'
ratios, of processor time, to the same pipeline without a cache. The PSNR of the decoded pictures
stands beside them; random weights say little of likeness, so:

``likeness``: `shapes` and `digits`, mean PSNR in dB of pictures against those that are made without
a cache, over seeds, for as many computed calls: every so many; evenly, but so that the last is
computed; chosen by the scheduler; and (of `digits`, whose network has a first block) where the
first block's residual has changed by more than a threshold, set so that as many are computed.

Exits 1 where an aim is missed.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import tiny
from feature_likeness import likeness, psnr, with_cache
from ldm_core import Pipeline
from machine import describe
from timing import Way, in_turns

STEPS, ROUNDS = 6, 3
QUARTER: dict[str, Any] = {
    "sample_size": 64,
    "block_out_channels": (80, 160, 320, 320),
    "layers_per_block": 2,
    "down_block_types": (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
    "cross_attention_dim": 32,
    "attention_head_dim": 8,
    "norm_num_groups": 16,
}
FLUX: dict[str, Any] = {
    "num_layers": 3,
    "num_single_layers": 6,
    "attention_head_dim": 32,
    "num_attention_heads": 8,
    "axes_dims_rope": (8, 12, 12),
}
FLUX_STEPS = 16
Ways = dict[str, Callable[[], Tensor]]


def latents_of(pipe: Pipeline, **call: Any) -> Callable[[], Tensor]:
    def run() -> Tensor:
        images: Tensor = pipe("a red star", seed=3, output_type="latent", **call).images
        return images

    return run


def compared(pipe: Pipeline, ways: Ways, args: argparse.Namespace) -> dict[str, Any]:
    """Of each way how many times faster it is than without a cache, its seconds, and the PSNR of
    its pictures against those without."""
    latents: dict[str, Tensor] = {}

    def keeping(name: str) -> Way:
        return lambda: latents.update({name: ways[name]()})

    tried = {n: keeping(n) for n in ways if n in ("uncached", *(args.ways or ways))}
    figures: dict[str, Any] = in_turns(tried, "uncached", args.rounds)
    pictures = {name: pipe.decode(own) for name, own in latents.items()}
    for name, own in figures.items():
        own["faster"] = 1 / own["processor_ratio"]
        own["psnr"] = psnr(pictures[name], pictures["uncached"])
    return figures


def quarter_unet(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """How each way does, and the share of what an interval could save at most."""
    tiny.write_stable_diffusion(folder, **QUARTER)
    pipe = Pipeline.from_pretrained(folder, num_inference_steps=STEPS)
    weights = sum(p.numel() for p in pipe.model.parts["unet"].module.parameters())
    grid = pipe.composition.plan({"prompt": ["a"], "negative_prompt": [None]}, [0], {}, STEPS).grid
    half = {"name": "classifier_free", "low": grid[STEPS // 2].ratio * 1.0001}
    ways = {
        "uncached": latents_of(pipe),
        "feature_cache every 2": latents_of(with_cache(pipe, every=2)),
        "feature_cache every 3": latents_of(with_cache(pipe, every=3)),
        "prompt_cache": latents_of(pipe.replace(converters=["prompt_cache"])),
        "guidance on half the steps": latents_of(pipe.replace(guidance=half)),
    }
    figures = {"weights": weights, **compared(pipe, ways, args)}
    if (interval := figures.get("guidance on half the steps")) is not None:
        figures["of 2/(1+f)"] = {"faster": interval["faster"] / (2 / 1.5)}
    return figures


def cut_down_flux(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    tiny.write_flux(folder, **FLUX)
    pipe = Pipeline.from_pretrained(folder, num_inference_steps=FLUX_STEPS)
    call = {"width": 128, "height": 128}
    ways = {
        "uncached": latents_of(pipe, **call),
        "taylorseer every 3": latents_of(with_cache(pipe, method="taylorseer"), **call),
        "first_block 0.05": latents_of(with_cache(pipe, method="first_block"), **call),
        "blocks every 2": latents_of(with_cache(pipe, every=2), **call),
        "blocks every 3": latents_of(with_cache(pipe, every=3), **call),
    }
    return compared(pipe, ways, args)


NETWORKS = {"unet": ("quarter UNet", quarter_unet), "flux": ("cut-down Flux", cut_down_flux)}
AIMS = {"feature_cache every 3": 1.8, "taylorseer every 3": 1.8, "of 2/(1+f)": 0.97}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stages", nargs="*", default=["speed", "likeness"])
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--ways", nargs="+", help="in place of all that are timed")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, Any] = {"machine": describe("torch", "diffusers")}
    print(figures["machine"])
    missed: list[str] = []
    if "speed" in args.stages:
        for name in args.networks:
            network, measure = NETWORKS[name]
            with tempfile.TemporaryDirectory() as home:
                figures[network] = found = measure(Path(home, name), args)
            print(network, json.dumps(found, indent=2), flush=True)
            for way, aim in AIMS.items():
                if way in found and found[way]["faster"] < aim:
                    missed.append(f"{network}, {way}: {found[way]['faster']:.2f}, below {aim}")
    if "likeness" in args.stages:
        schedulers = ("euler", "ddim", "dpmpp_2m", "unipc")
        figures["likeness"] = [
            *likeness("shapes", 25, schedulers, (2, 3, 5), args.images),
            *likeness("shapes", 50, schedulers, (2, 3, 5), args.images),
            *likeness("digits", 25, schedulers, (2, 3, 5), args.images),
        ]
    figures |= {"rounds": args.rounds, "missed": missed}
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")
    if missed:
        sys.exit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
