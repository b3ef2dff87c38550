"""Pictures and networks on the processor: OpenVINO's programs against Diffusers, in turns.

``shapes``: whole pictures of 25 steps with guidance, batches of 1 and 8, against
``StableDiffusionPipeline`` on the same folder. ``quarter`` and ``real``: one call of the network,
two rows at 64x64 latents, of Stable Diffusion 1.5's UNet with a quarter of its channels (56 M
weights) and with all of them, random weights, against the same network in torch. With
``--compiled`` what Diffusers' own page advises stands beside them in the same rounds,
``pipe.unet = torch.compile(pipe.unet)``; compiling, which takes minutes, is told apart. ``--cache``
keeps what is compiled for another run, whose first calls then tell nothing.

Each figure is the median of the ratios of rounds; beside seconds by the clock stand those of the
processor, which other load moves less. Exits 1 where an aim is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from machine import describe
from timing import Way, in_turns

STEPS, GUIDANCE, PROMPT = 25, 4.0, "a large red circle on a blue background"
ROUNDS = {"shapes": 7, "quarter": 7, "real": 3}
AIMS = {
    "shapes": {"float32": 0.70, "bfloat16": 0.50},
    "quarter": {"float32": 0.72, "bfloat16": 0.45},
    "real": {"float32": 0.72, "bfloat16": 0.45},
}
"""Of the peer's time, at most."""
APART = 1e-4
"""Final latents in float32 from Diffusers', relative, at most."""
COMPILERS = ("c++", "g++", "clang++")


def shapes(options: argparse.Namespace, cache: str, rounds: int) -> dict[str, Any]:
    """Whole pictures."""
    import torch
    from diffusers import StableDiffusionPipeline

    from ldm_core import Pipeline

    plain = Pipeline.from_pretrained("shapes", device="cpu")
    theirs = StableDiffusionPipeline.from_pretrained(plain.model.info.folder)
    theirs.set_progress_bar_config(disable=True)
    ours = {"ldm": plain}
    for dtype in ("float32", "bfloat16"):
        chosen = [{"name": "openvino", "dtype": dtype, "cache": cache}]
        ours[dtype] = plain.replace(converters=chosen)
    if options.compiled:
        compiled = StableDiffusionPipeline.from_pretrained(plain.model.info.folder)
        compiled.set_progress_bar_config(disable=True)
        compiled.unet = torch.compile(compiled.unet)
    report = {}
    for batch in options.batches:
        call = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE}

        def draw(pipe: Any, batch: int = batch, call: Any = call, **more: Any) -> Any:
            return pipe([PROMPT] * batch, seed=0, **call, **more).images

        def their(batch: int = batch, call: Any = call, pipe: Any = theirs, **more: Any) -> Any:
            each = [torch.Generator().manual_seed(seed) for seed in range(batch)]
            return pipe([PROMPT] * batch, generator=each, **call, **more).images

        ways: dict[str, Way] = {"diffusers": their}
        ways |= {name: lambda p=pipe, d=draw: d(p) for name, pipe in ours.items()}
        if options.compiled:
            ways["compiled"] = lambda t=their: t(pipe=compiled)
        figures: dict[str, Any] = in_turns(ways, "diffusers", rounds)
        exact = their(output_type="latent")
        pictures = torch.as_tensor(their(output_type="np"))
        for name, pipe in ours.items():
            latents = draw(pipe, output_type="latent")
            figures[name]["apart"] = float((latents - exact).norm() / exact.norm())
            shown = torch.as_tensor(draw(pipe, output_type="np"))
            error = float((shown - pictures).square().mean())
            figures[name]["psnr"] = -10 * torch.tensor(max(error, 1e-12)).log10().item()
        if options.compiled:
            latents = their(pipe=compiled, output_type="latent")
            figures["compiled"]["apart"] = float((latents - exact).norm() / exact.norm())
        report[f"batch {batch}"] = figures
    return report


def networks(name: str, options: argparse.Namespace, cache: str, rounds: int) -> dict[str, Any]:
    """One call of a network."""
    import torch

    import random_networks
    from ldm_plugins.converters.shared.programs import Programs

    place = options.folder or Path(cache, "networks")
    network = random_networks.read(random_networks.written(name, place))
    call_of = random_networks.call_of
    ways: dict[str, Way] = {"diffusers": call_of(network)}
    for dtype in ("float32", "bfloat16"):
        ways[dtype] = call_of(Programs(network, dtype, Path(cache)))
    if options.compiled:
        ways["compiled"] = call_of(torch.compile(network))
    with torch.no_grad():
        figures: dict[str, Any] = in_turns(ways, "diffusers", rounds)
        exact = ways["diffusers"]()
        for way, call in ways.items():
            figures[way]["apart"] = float((call() - exact).norm() / exact.norm())
    return {"weights": sum(p.numel() for p in network.parameters()), **figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=list(AIMS), default=list(AIMS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8], help="of `shapes`")
    parser.add_argument("--rounds", type=int, help="in place of the usual number")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compiled", action="store_true", help="torch.compile too; takes minutes")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--folder", type=Path, help="where networks lie or are written")
    parser.add_argument("--cache", help="folder of programs; a new one where left out")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    import torch

    torch.set_num_threads(options.threads)
    machine = describe("ldm-core", "diffusers", "torch", "openvino")
    print(machine, f"{options.threads} threads", sep="\n", flush=True)
    report: dict[str, Any] = {"machine": machine, "threads": options.threads, "rounds": {}}
    if options.compiled and not any(map(shutil.which, COMPILERS)):
        report["without"] = f"Diffusers compiled, for want of {' or '.join(COMPILERS)}"
        print(f"not measured: {report['without']}")
        options.compiled = False
    missed = []
    with tempfile.TemporaryDirectory() as home:
        cache = options.cache or home
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(cache, "inductor"))
        for part in options.parts:
            report["rounds"][part] = rounds = options.rounds or ROUNDS[part]
            if part == "shapes":
                report[part] = shapes(options, cache, rounds)
                for batch, figures in report[part].items():
                    missed += show(f"shapes, {batch}", figures, AIMS[part])
            else:
                report[part] = networks(part, options, cache, rounds)
                missed += show(part, report[part], AIMS[part])
    report["missed"] = missed
    if options.json:
        options.json.write_text(json.dumps(report, indent=2))
    for line in missed:
        print(f"missed: {line}")
    sys.exit(1 if missed else 0)


def show(name: str, figures: Mapping[str, Any], aims: Mapping[str, float]) -> list[str]:
    """Print a table; what of it misses an aim."""
    print(f"{name}\n  {'':10} seconds  processor  ratio  processor  first    apart    PSNR")
    missed = []
    for way, row in figures.items():
        if not isinstance(row, dict):
            continue
        apart = f"{row['apart']:.1e}" if "apart" in row else ""
        psnr = f"{row['psnr']:.1f}" if "psnr" in row else ""
        print(
            f"  {way:10} {row['seconds']:7.3f} {row['processor']:9.3f} {row['ratio']:7.3f}"
            f" {row['processor_ratio']:9.3f} {row['first_processor']:7.2f}  {apart:8} {psnr}",
            flush=True,
        )
        if way in aims and row["processor_ratio"] > aims[way]:
            missed.append(f"{name}, {way}: {row['processor_ratio']:.3f}, above {aims[way]}")
        if way == "float32" and row["apart"] > APART:
            missed.append(f"{name}, {way}: {row['apart']:.1e} apart")
    return missed


if __name__ == "__main__":
    main()
