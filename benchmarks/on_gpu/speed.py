"""Seconds for 25 steps with guidance of a network of Stable Diffusion 1.5's size, half precision,
latents of 64x64 (pictures of 512x512), against `StableDiffusionPipeline` on the same module.

Weights are random, made on the device; no file of their size is written. The latents are not
decoded. ``network`` is as many calls of the network alone, one after the other; what a program
takes beyond them it takes itself. `step beside the network` has a constant for the network, and is
the difference of a run of 75 steps and one of 25.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor, nn

import tiny
from ldm_core import Pipeline
from ldm_core.run.weights import Weights
from on_gpu.bench import Bench, Figures, apart, finite, median, noise, ratio

STEPS, ROUNDS, SCALE, TOKENS = 25, 3, 7.5, 77
SIZE: dict[str, Any] = {"sample_size": 64, "cross_attention_dim": 768}
"""Of the UNet; all else is its class's default, which is Stable Diffusion 1.5's."""
QUICK: dict[str, Any] = {
    "sample_size": 16,
    "block_out_channels": (32, 64, 64, 64),
    "norm_num_groups": 8,
}
PROMPT = "a large red star on the blue background"


def network(bench: Bench, dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(0)
    with torch.device(bench.device):
        unet = UNet2DConditionModel(**{**SIZE, **(QUICK if bench.quick else {})})
    return unet.to(dtype).eval().requires_grad_(False)


def programs(bench: Bench, folder: Path, unet: nn.Module, dtype: torch.dtype) -> tuple[Any, Any]:
    """Ours and Diffusers' pipeline, of a tiny folder but for the network and a text encoder of the
    width that it takes."""
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(1)
    config = CLIPTextConfig.from_pretrained(folder / "text_encoder")
    wide = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
    layers = 1 if bench.quick else 12
    config.update({**wide, "num_hidden_layers": layers, "max_position_embeddings": TOKENS})
    text = CLIPTextModel(config).to(bench.device, dtype).eval().requires_grad_(False)
    name = str(dtype).removeprefix("torch.")
    ours = Pipeline.from_pretrained(folder, device=bench.device, dtype=name, compute_dtype=name)
    parts = ours.model.parts
    ours.model.parts["tokenizer"].module.model_max_length = TOKENS
    changes = {
        "unet": replace(parts["unet"], module=unet),
        "text_encoder": replace(parts["text_encoder"], module=text),
    }
    weights = Weights.of(ours.model.replaced(changes))
    ours = replace(ours, weights=weights, unconverted=weights)
    theirs = StableDiffusionPipeline.from_pretrained(
        folder, unet=unet, text_encoder=text, torch_dtype=dtype
    )
    theirs.tokenizer.model_max_length = TOKENS
    theirs.set_progress_bar_config(disable=True)
    return ours, theirs.to(bench.device)


def calls(ours: Any, theirs: Any, batch: int) -> dict[str, Callable[..., Tensor]]:
    """Both programs' run, which gives latents."""
    prompts = [PROMPT] * batch
    both: dict[str, Any] = {"guidance_scale": SCALE, "output_type": "latent"}

    def run_ours(steps: int = STEPS) -> Tensor:
        latents: Tensor = ours(prompts, seed=0, num_inference_steps=steps, **both).images
        return latents

    def run_theirs(steps: int = STEPS) -> Tensor:
        unet = theirs.unet
        shape = (unet.config.in_channels, unet.config.sample_size, unet.config.sample_size)
        drawn = noise(range(batch), shape, theirs.device, unet.dtype)
        found = theirs(prompts, latents=drawn, num_inference_steps=steps, **both)
        latents: Tensor = found.images
        return latents

    return {"ldm": run_ours, "diffusers": run_theirs}


def sampling(bench: Bench, programs: tuple[Any, Any], unet: nn.Module, batch: int) -> Figures:
    runs: dict[str, Callable[[], Any]] = dict(calls(*programs, batch))
    dtype = next(unet.parameters()).dtype
    side = unet.config.sample_size
    shape = (2 * batch, unet.config.in_channels, side, side)
    x = torch.randn(shape, device=bench.device, dtype=dtype)
    text = torch.randn(2 * batch, TOKENS, 768, device=bench.device, dtype=dtype)
    t = torch.full((2 * batch,), 500, device=bench.device)
    steps = 2 if bench.quick else STEPS

    @torch.no_grad()
    def network_alone() -> None:
        for _ in range(steps):
            unet(x, t, text, return_dict=False)

    limited = {name: lambda run=run: run(steps) for name, run in runs.items()}
    limited["network"] = network_alone
    first = {name: bench.peak(run) for name, run in limited.items()}
    times = bench.in_turn(limited, 1 if bench.quick else ROUNDS, warm=True)
    ours, theirs = first["ldm"][0], first["diffusers"][0]
    figures: dict[str, Any] = {
        **{f"{name}_s": median(seconds) for name, seconds in times.items()},
        "over_diffusers": ratio(times["ldm"], times["diffusers"]),
        "over_network": ratio(times["ldm"], times["network"]),
        "diffusers_over_network": ratio(times["diffusers"], times["network"]),
        "latents_apart": apart(ours, theirs),
        "finite": finite(ours) and finite(theirs),
        "network_call_returns_ms": returns(bench, network_alone) / steps * 1e3,
    }
    if bench.cuda:
        figures |= {f"{name}_peak_mib": peak for name, (_, peak) in first.items()}
        figures["weights_mib"] = sum(w.numel() * w.itemsize for w in unet.parameters()) / 2**20
    return figures


def returns(bench: Bench, run: Callable[[], Any]) -> float:
    """Seconds until the host has asked for all of it, whether it is done or not."""
    import time

    bench.wait()
    began = time.perf_counter()
    run()
    asked = time.perf_counter() - began
    bench.wait()
    return asked


class Constant(UNet2DConditionModel):  # type: ignore[misc]
    """A network that computes nothing."""

    def forward(self, sample: Tensor, *args: Any, **options: Any) -> tuple[Tensor]:
        return (torch.full_like(sample, 0.1),)


def beside(bench: Bench, folder: Path, dtype: torch.dtype) -> Figures:
    config = diffusers.UNet2DConditionModel.load_config(folder / "unet")
    constant = Constant.from_config({**config, "cross_attention_dim": 768})
    constant = constant.to(bench.device, dtype).eval()
    runs = calls(*programs(bench, folder, constant, dtype), 1)
    short, long = (1, 4) if bench.quick else (STEPS, 3 * STEPS)
    turns = {
        (name, steps): lambda r=r, s=steps: r(s)
        for name, r in runs.items()
        for steps in (short, long)
    }
    named = {f"{name} {steps}": run for (name, steps), run in turns.items()}
    times = bench.in_turn(named, 2 if bench.quick else 5)
    least = {name: min(seconds) for name, seconds in times.items()}
    figures = {
        f"{name}_us_a_step": (least[f"{name} {long}"] - least[f"{name} {short}"])
        / (long - short)
        * 1e6
        for name in runs
    }
    return {**figures, "over_diffusers": figures["ldm_us_a_step"] / figures["diffusers_us_a_step"]}


def run(bench: Bench) -> None:
    with tempfile.TemporaryDirectory() as place:
        side = QUICK["sample_size"] if bench.quick else SIZE["sample_size"]
        folder = tiny.write_stable_diffusion(Path(place), sample_size=side)
        for name in ("bfloat16",) if bench.quick else ("float16", "bfloat16"):
            dtype = getattr(torch, name)
            bench.measure(
                f"step beside the network, {name}", lambda d=dtype: beside(bench, folder, d)
            )
            unet = network(bench, dtype)
            both = programs(bench, folder, unet, dtype)
            for batch in (1,) if bench.quick or name == "bfloat16" else (1, 4):
                bench.measure(
                    f"25 steps, {name}, batch {batch}",
                    lambda u=unet, p=both, b=batch: sampling(bench, p, u, b),
                )
            del unet, both
