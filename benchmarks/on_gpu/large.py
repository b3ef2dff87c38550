"""Networks of SDXL's and Flux's size in bfloat16, with guidance, pictures of 1024x1024 (latents of
128x128): seconds and peak memory of a run against Diffusers' own pipeline on the same modules.

Weights are random, made on the device; no file of their size is written. Folders are the tests'
tiny ones but for the networks, and for text encoders as wide as these take: the CLIPs with all of
their 12 and 32 layers, Flux's T5 with two. SDXL's autoencoder is of its published size, and is not
asked here. Flux has as many of its 19 and 38 blocks as the memory of the card allows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import Tensor, nn

import tiny
from ldm_core import Pipeline
from ldm_core.run.weights import Weights
from on_gpu.bench import Bench, Figures, apart, finite, median, noise, ratio
from on_gpu.random_modules import DTYPE, made_on, ready, wide
from tiny.autoencoder import write_autoencoder

STEPS, ROUNDS, LATENTS = 4, 2, 128
PROMPT = "a large red star on the blue background"
CLIP = {
    "hidden_size": 768,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "vocab_size": 49408,
}
LARGE_CLIP = {
    "hidden_size": 1280,
    "num_attention_heads": 20,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "vocab_size": 49408,
    "projection_dim": 1280,
}
T5 = {"d_model": 4096, "d_kv": 64, "num_heads": 64, "d_ff": 10240, "num_layers": 2}
SDXL: dict[str, Any] = {
    "sample_size": LATENTS,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
SDXL_VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "sample_size": 1024,
    "scaling_factor": 0.13025,
}
"""Of 83.7 million weights; as the tests' tiny one where it is quick."""
SMALL_SDXL = {
    "block_out_channels": (32, 64, 64),
    "transformer_layers_per_block": 1,
    "attention_head_dim": 4,
    "norm_num_groups": 8,
    "layers_per_block": 1,
}
FLUX: dict[str, Any] = {"in_channels": 16, "guidance_embeds": True}
"""All else is its class's default; the tiny autoencoder has 4 channels in place of 16."""
SMALL_FLUX = {
    "num_layers": 1,
    "num_single_layers": 1,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "axes_dims_rope": (4, 4, 8),
}
BLOCK_GIB = 0.63, 0.27
"""Of a block of Flux in bfloat16, of either kind."""
Programs = dict[str, Callable[[], Tensor]]


def ours_with(folder: Path, device: str, modules: Mapping[str, nn.Module]) -> Pipeline:
    pipe = Pipeline.from_pretrained(
        folder, device=device, dtype="bfloat16", compute_dtype="bfloat16"
    )
    parts = pipe.model.parts
    changes = {name: replace(parts[name], module=module) for name, module in modules.items()}
    weights = Weights.of(pipe.model.replaced(changes))
    return replace(pipe, weights=weights, unconverted=weights)


def theirs_with(folder: Path, device: str, modules: Mapping[str, nn.Module]) -> Any:
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder, torch_dtype=DTYPE, **modules)
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device)


def sdxl_modules(bench: Bench, place: Path) -> tuple[Path, dict[str, nn.Module]]:
    """A folder of SDXL, and the modules that take the place of its own, on the device."""
    folder = tiny.write_stable_diffusion_xl(place)
    if not bench.quick:
        write_autoencoder(folder, 4, **SDXL_VAE)
    config = {**SDXL, **(SMALL_SDXL if bench.quick else {})}
    with made_on(bench.device):
        unet = ready(diffusers.UNet2DConditionModel(**config))
    vae = diffusers.AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=DTYPE)
    return folder, {
        "unet": unet,
        "vae": ready(vae.to(bench.device)),
        "text_encoder": wide(bench, folder / "text_encoder", "CLIPTextModel", CLIP),
        "text_encoder_2": wide(
            bench, folder / "text_encoder_2", "CLIPTextModelWithProjection", LARGE_CLIP
        ),
    }


def sdxl_size(bench: Bench) -> dict[str, int]:
    """Of a picture; the tiny autoencoder has two pixels for a latent, the published one eight."""
    return size((2 if bench.quick else 8) * side_of(bench))


def sdxl(bench: Bench, place: Path) -> tuple[Programs, nn.Module, dict[str, Any]]:
    folder, modules = sdxl_modules(bench, place)
    ours, theirs = (f(folder, bench.device, modules) for f in (ours_with, theirs_with))
    side = side_of(bench)
    call: dict[str, Any] = {"guidance_scale": 5.0, "num_inference_steps": STEPS}
    call |= sdxl_size(bench)

    def run_theirs() -> Tensor:
        x = noise(range(1), (4, side, side), bench.device, DTYPE)
        latents: Tensor = theirs(PROMPT, latents=x, output_type="latent", **call).images
        return latents

    return {"ldm": drawing(ours, call), "diffusers": run_theirs}, modules["unet"], {}


def flux(bench: Bench, place: Path) -> tuple[Programs, nn.Module, dict[str, Any]]:
    folder = tiny.write_flux(place)
    blocks = SMALL_FLUX if bench.quick else blocks_that_fit(bench)
    with made_on(bench.device):
        transformer = ready(diffusers.FluxTransformer2DModel(**{**FLUX, **blocks}))
    modules = {
        "transformer": transformer,
        "text_encoder": wide(bench, folder / "text_encoder", "CLIPTextModel", CLIP),
        "text_encoder_2": wide(bench, folder / "text_encoder_2", "T5EncoderModel", T5),
    }
    ours, theirs = (f(folder, bench.device, modules) for f in (ours_with, theirs_with))
    side = 2 * side_of(bench)  # the tiny autoencoder has two pixels for a latent
    call: dict[str, Any] = {"guidance_scale": 3.5, "num_inference_steps": STEPS, **size(side)}

    def run_theirs() -> Tensor:
        x = noise(range(1), (4, side // 2, side // 2), bench.device, DTYPE)
        packed = theirs._pack_latents(x, 1, 4, side // 2, side // 2)
        found = theirs(PROMPT, latents=packed, output_type="latent", **call).images
        latents: Tensor = theirs._unpack_latents(found, side, side, theirs.vae_scale_factor)
        return latents

    shown = {key: transformer.config[key] for key in ("num_layers", "num_single_layers")}
    return {"ldm": drawing(ours, call), "diffusers": run_theirs}, transformer, shown


def blocks_that_fit(bench: Bench) -> dict[str, int]:
    """All 19 and 38 blocks, or a share of both for which half of the card is enough."""
    if not bench.cuda:
        return {"num_layers": 1, "num_single_layers": 1}
    free = torch.cuda.mem_get_info()[0] / 2**30 / 1.5
    share = min(1.0, free / (19 * BLOCK_GIB[0] + 38 * BLOCK_GIB[1]))
    return {"num_layers": int(19 * share), "num_single_layers": int(38 * share)}


def side_of(bench: Bench) -> int:
    return 16 if bench.quick else LATENTS


def size(side: int) -> dict[str, int]:
    """Of a picture."""
    return {"width": side, "height": side}


def drawing(pipe: Pipeline, call: Mapping[str, Any]) -> Callable[[], Tensor]:
    def run() -> Tensor:
        latents: Tensor = pipe(PROMPT, seed=0, output_type="latent", **call).images
        return latents

    return run


def compare(bench: Bench, make: Callable[..., Any], place: Path) -> Figures:
    """Seconds and peaks of both programs on one module, and how far apart the latents are."""
    programs, network, shown = make(bench, place)
    first = {name: bench.peak(run) for name, run in programs.items()}
    times = bench.in_turn(programs, 1 if bench.quick else ROUNDS, warm=True)
    latents = {name: result for name, (result, _) in first.items()}
    weights = list(network.parameters())
    figures: dict[str, Any] = {
        **shown,
        "parameters_million": sum(w.numel() for w in weights) / 1e6,
        "weights_mib": sum(w.numel() * w.itemsize for w in weights) / 2**20,
        **{f"{name}_s": median(seconds) for name, seconds in times.items()},
        "over_diffusers": ratio(times["ldm"], times["diffusers"]),
        "latents_apart": apart(latents["ldm"], latents["diffusers"]),
        "finite": all(map(finite, latents.values())),
    }
    if bench.cuda:
        figures |= {f"{name}_peak_mib": peak for name, (_, peak) in first.items()}
    return figures


def run(bench: Bench) -> None:
    with tempfile.TemporaryDirectory() as place:
        for name, make in (("SDXL", sdxl), ("Flux", flux)):
            folder = Path(place) / name
            bench.measure(f"{name}, {STEPS} steps", lambda m=make, f=folder: compare(bench, m, f))
            if bench.cuda:
                torch.cuda.empty_cache()
