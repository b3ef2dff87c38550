"""Pictures and networks on the processor: OpenVINO's programs against Diffusers, in turns.

Three parts. ``shapes``: whole pictures of 25 steps with guidance, batches of 1 and 8, against
``StableDiffusionPipeline`` on the same folder. ``quarter`` and ``real``: one call of the network,
two rows at 64x64 latents, of Stable Diffusion 1.5's UNet with a quarter of its channels (56 M
weights) and with all of them, random weights, against the same network in torch. And ``start``:
what a second start adds, once the network's graph and program are kept on disk.

A start is a process of its own that reads the network from a safetensors file which the system has
in memory. Its first call takes longer than its later ones, torch's too, as it is the first to touch
the weights; what OpenVINO's takes longer less what torch's takes longer is what a start adds. The
medians of three starts of each in turns; OpenVINO's alone stand beside them.

Each figure is the median of the ratios of rounds; beside seconds by the clock stand those of the
processor, which other load moves less. Exits 1 where an aim is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from machine import describe

STEPS, GUIDANCE, PROMPT = 25, 4.0, "a large red circle on a blue background"
CHANNELS = {"quarter": (64, 160, 320, 320), "real": (320, 640, 1280, 1280)}
ROUNDS = {"shapes": 7, "quarter": 7, "real": 3}
AIMS = {
    "shapes": {"float32": 0.70, "bfloat16": 0.50},
    "quarter": {"float32": 0.72, "bfloat16": 0.45},
    "real": {"float32": 0.72, "bfloat16": 0.45},
}
"""Of the peer's time, at most."""
APART = 1e-4
"""Final latents in float32 from Diffusers', relative, at most."""
START, STARTS = 3.0, 3
"""Seconds of a processor that a second start adds, at most; and how many are measured."""

Way = Callable[[], Any]


def timed(ways: Mapping[str, Way], peer: str, rounds: int) -> dict[str, dict[str, float]]:
    """Seconds of each way, once each in every round, and their ratio to the peer's."""
    for way in ways.values():
        way()
    rows: list[dict[str, tuple[float, float]]] = []
    for _ in range(rounds):
        row = {}
        for name, way in ways.items():
            clock, processor = time.perf_counter(), time.process_time()
            way()
            row[name] = (time.perf_counter() - clock, time.process_time() - processor)
        rows.append(row)
    figures = {}
    for name in ways:
        figures[name] = {
            "seconds": statistics.median(row[name][0] for row in rows),
            "processor": statistics.median(row[name][1] for row in rows),
            "ratio": statistics.median(row[name][0] / row[peer][0] for row in rows),
            "processor_ratio": statistics.median(row[name][1] / row[peer][1] for row in rows),
        }
    return figures


def shapes(options: argparse.Namespace, cache: str) -> dict[str, Any]:
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
    report = {}
    for batch in (1, 8):
        call = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE}

        def draw(pipe: Any, batch: int = batch, call: Any = call, **more: Any) -> Any:
            return pipe([PROMPT] * batch, seed=0, **call, **more).images

        def their(batch: int = batch, call: Any = call, pipe: Any = theirs, **more: Any) -> Any:
            each = [torch.Generator().manual_seed(seed) for seed in range(batch)]
            return pipe([PROMPT] * batch, generator=each, **call, **more).images

        ways: dict[str, Way] = {"diffusers": their}
        ways |= {name: lambda p=pipe, d=draw: d(p) for name, pipe in ours.items()}
        if options.compiled:
            compiled = StableDiffusionPipeline.from_pretrained(plain.model.info.folder)
            compiled.set_progress_bar_config(disable=True)
            compiled.unet = torch.compile(compiled.unet)
            ways["compiled"] = lambda t=their, p=compiled: t(pipe=p)
        figures = timed(ways, "diffusers", options.rounds or ROUNDS["shapes"])
        exact = their(output_type="latent")
        pictures = torch.as_tensor(their(output_type="np"))
        for name, pipe in ours.items():
            latents = draw(pipe, output_type="latent")
            figures[name]["apart"] = float((latents - exact).norm() / exact.norm())
            shown = torch.as_tensor(draw(pipe, output_type="np"))
            error = float((shown - pictures).square().mean())
            figures[name]["psnr"] = -10 * torch.tensor(max(error, 1e-12)).log10().item()
        report[f"batch {batch}"] = figures
    return report


def unet(name: str) -> Any:
    import torch
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    network = UNet2DConditionModel(
        sample_size=64,
        block_out_channels=CHANNELS[name],
        cross_attention_dim=768,
        attention_head_dim=8,
    )
    return network.eval().requires_grad_(False)


def call_of(network: Any) -> Way:
    import torch

    draw = torch.Generator().manual_seed(1)
    x = torch.randn(2, 4, 64, 64, generator=draw)
    text = torch.randn(2, 77, 768, generator=draw)
    t = torch.full((2,), 500.0)
    return lambda: network(x, t, text, return_dict=False)[0]


def networks(name: str, options: argparse.Namespace, cache: str) -> dict[str, Any]:
    """One call of a network."""
    import torch

    from ldm_plugins.converters.shared.programs import Programs

    network = unet(name)
    ways: dict[str, Way] = {"diffusers": call_of(network)}
    for dtype in ("float32", "bfloat16"):
        ways[dtype] = call_of(Programs(network, dtype, Path(cache)))
    if options.compiled:
        ways["compiled"] = call_of(torch.compile(network))
    with torch.no_grad():
        figures = timed(ways, "diffusers", options.rounds or ROUNDS[name])
        exact = ways["diffusers"]()
        for way, call in ways.items():
            figures[way]["apart"] = float((call() - exact).norm() / exact.norm())
    return {"weights": sum(p.numel() for p in network.parameters()), **figures}


def start(name: str, options: argparse.Namespace, cache: str) -> dict[str, Any]:
    """What the first start with OpenVINO takes beyond its later calls, and what a later start
    adds to one with torch."""
    folder = Path(cache, "networks", name)
    if not (folder / "config.json").is_file():
        unet(name).save_pretrained(folder)

    def one(way: str) -> dict[str, float]:
        command = [sys.executable, __file__, "--start", way, "--network", str(folder)]
        command += ["--cache", cache, "--threads", str(options.threads)]
        home = {**os.environ, "XDG_CACHE_HOME": str(Path(cache, "home"))}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=home)
        figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return figures

    first = one("openvino")
    starts = [(one("torch"), one("openvino")) for _ in range(STARTS)]
    second = {
        key: statistics.median(ours[key] for _, ours in starts)
        for key in ("peak_gib", "weights_gib")
    }
    for key in ("clock", "processor"):
        second[f"alone_{key}"] = statistics.median(ours[key] for _, ours in starts)
        second[f"adds_{key}"] = statistics.median(ours[key] - torch[key] for torch, ours in starts)
    return {"first": first, "second": second, "starts": starts}


def started(way: str, folder: str, cache: str) -> dict[str, float]:
    """Seconds to the first answer beyond those to a later one."""
    import resource

    import torch
    from diffusers import UNet2DConditionModel

    from ldm_plugins.converters.shared.programs import Programs

    loaded: Any = UNet2DConditionModel.from_pretrained(folder, local_files_only=True)
    network = loaded.eval().requires_grad_(False)
    call = call_of(Programs(network, "float32", Path(cache)) if way == "openvino" else network)
    times = []
    with torch.no_grad():
        for _ in range(3):
            clock, processor = time.perf_counter(), time.process_time()
            call()
            times.append((time.perf_counter() - clock, time.process_time() - processor))
    return {
        "clock": times[0][0] - min(clock for clock, _ in times[1:]),
        "processor": times[0][1] - min(processor for _, processor in times[1:]),
        "weights_gib": sum(p.nbytes for p in network.parameters()) / 2**30,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def optimum() -> str:
    """Whether optimum's pipeline for OpenVINO can be a peer here, in words."""
    try:
        from optimum.intel import OVStableDiffusionPipeline  # noqa: F401
    except ImportError as error:
        return f"optimum's pipeline for OpenVINO is no peer here: {error}."
    return "optimum's pipeline for OpenVINO is installed."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=[*AIMS, "start"], default=[*AIMS, "start"])
    parser.add_argument("--rounds", type=int, help="in place of the usual number")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compiled", action="store_true", help="torch.compile too; takes minutes")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--start", choices=["openvino", "torch"], help=argparse.SUPPRESS)
    parser.add_argument("--network", help=argparse.SUPPRESS)
    parser.add_argument("--cache", help="folder of graphs and networks; a new one where left out")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    import torch

    torch.set_num_threads(options.threads)
    if options.start:
        print(json.dumps(started(options.start, options.network, options.cache)))
        return
    machine = describe("ldm-core", "diffusers", "torch", "openvino")
    print(machine, f"{options.threads} threads", optimum(), sep="\n", flush=True)
    report: dict[str, Any] = {"machine": machine, "threads": options.threads}
    missed = []
    with tempfile.TemporaryDirectory() as home:
        cache = options.cache or home
        for part in options.parts:
            if part == "shapes":
                report[part] = shapes(options, cache)
                for batch, figures in report[part].items():
                    missed += show(f"shapes, {batch}", figures, AIMS[part])
            elif part != "start":
                report[part] = networks(part, options, cache)
                missed += show(part, report[part], AIMS[part])
        if "start" in options.parts:
            names = [name for name in CHANNELS if name in options.parts] or [*CHANNELS]
            report["start"] = {}
            for name in names:
                report["start"][name] = start(name, options, cache)
                for which in ("first", "second"):
                    print(f"{which} start of {name}: {json.dumps(report['start'][name][which])}")
                adds = report["start"][name]["second"]["adds_processor"]
                if adds > START:
                    missed.append(f"the second start of {name} adds {adds:.1f} s of a processor")
    if options.json:
        options.json.write_text(json.dumps(report, indent=2))
    for line in missed:
        print(f"missed: {line}")
    sys.exit(1 if missed else 0)


def show(name: str, figures: Mapping[str, Any], aims: Mapping[str, float]) -> list[str]:
    """Print a table; what of it misses an aim."""
    print(f"{name}\n  {'':10} seconds  processor  ratio  processor  apart    PSNR")
    missed = []
    for way, row in figures.items():
        if not isinstance(row, dict):
            continue
        apart = f"{row['apart']:.1e}" if "apart" in row else ""
        psnr = f"{row['psnr']:.1f}" if "psnr" in row else ""
        print(
            f"  {way:10} {row['seconds']:7.3f} {row['processor']:9.3f} {row['ratio']:7.3f}"
            f" {row['processor_ratio']:9.3f}  {apart:8} {psnr}",
            flush=True,
        )
        if way in aims and row["processor_ratio"] > aims[way]:
            missed.append(f"{name}, {way}: {row['processor_ratio']:.3f}, above {aims[way]}")
        if way == "float32" and row["apart"] > APART:
            missed.append(f"{name}, {way}: {row['apart']:.1e} apart")
    return missed


if __name__ == "__main__":
    main()
