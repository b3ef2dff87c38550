"""What it takes to start: the command line's answers, and from nothing to the first picture.

Each program is started anew, in turn with its peer: ``ldm --help`` and ``ldm plugins list`` with
``diffusers-cli --help``, and ``ldm generate`` of one picture of `shapes` at 4 steps with a minimal
script of Diffusers that makes the same one. Processor time is that of the process, on one thread.
Modules are compiled in the first round, which is not counted, as an installer compiles them.
Exits 1 where an aim is missed, or where the two pictures differ.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ldm_core.plugins.registry import installed
from machine import describe

BIN = Path(sys.executable).parent
PROMPT, SEED, STEPS = "a large red circle on a blue background", 7, 4
FOLDER = next(model.folder for model in installed().models if model.name == "shapes")
SCRIPT = f"""
import torch
from diffusers import StableDiffusionPipeline

pipe = StableDiffusionPipeline.from_pretrained({str(FOLDER)!r})
generator = torch.Generator().manual_seed({SEED})
image = pipe({PROMPT!r}, num_inference_steps={STEPS}, guidance_scale=4.0, generator=generator)
image.images[0].save("theirs.png")
"""
PROGRAMS = {
    "python": [sys.executable, "-c", "pass"],
    "ldm --help": [str(BIN / "ldm"), "--help"],
    "ldm plugins list": [str(BIN / "ldm"), "plugins", "list"],
    "diffusers-cli --help": [str(BIN / "diffusers-cli"), "--help"],
    "ldm generate": [
        *(str(BIN / "ldm"), "generate", PROMPT, "--seed", str(SEED), "--steps", str(STEPS)),
        *("--out", "ours"),
    ],
    "a script of Diffusers": [sys.executable, "-c", SCRIPT],
}
QUICK = 0.2
"""Seconds in which the command line answers."""
OF_HELP, OF_PICTURE = 1 / 12, 0.35
"""Of the peer's processor time."""


class Cost(NamedTuple):
    """Seconds of a processor, and by the clock."""

    cpu: float
    wall: float


def cost(command: list[str], folder: Path) -> Cost:
    """What one run of a program takes, to its end."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(
        after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        wall,
    )


def parts(folder: Path) -> dict[str, float]:
    """Processor seconds of each part of making a picture, in a process of its own."""
    child = [sys.executable, str(Path(__file__).with_name("start_up_parts.py"))]
    run = subprocess.run(child, check=True, capture_output=True, text=True, cwd=folder)
    return dict(json.loads(run.stdout.splitlines()[-1]))


def difference(folder: Path) -> int:
    """The largest difference of a number of the two pictures, of 255."""
    (ours,) = (folder / "ours").glob("*.png")
    pictures = [np.asarray(Image.open(path), int) for path in (ours, folder / "theirs.png")]
    return int(np.abs(pictures[0] - pictures[1]).max())


def measure(rounds: int) -> tuple[dict[str, list[Cost]], list[dict[str, float]], int]:
    """Each program's cost and that of the parts in every round, and how far the pictures differ."""
    costs: dict[str, list[Cost]] = {name: [] for name in PROGRAMS}
    of_parts = []
    worst = 0
    for number in range(rounds + 1):  # the first is not counted: files are read from the disk
        with tempfile.TemporaryDirectory() as name:
            for program, command in PROGRAMS.items():
                one = cost(command, Path(name))
                if number:
                    costs[program].append(one)
            if number:
                of_parts.append(parts(Path(name)))
            worst = max(worst, difference(Path(name)))
    return costs, of_parts, worst


def report(
    costs: dict[str, list[Cost]], of_parts: list[dict[str, float]], worst: int
) -> dict[str, Any]:
    """Medians, the ratios pair by pair, and the aims that are missed."""

    def median(program: str, which: int) -> float:
        return statistics.median(one[which] for one in costs[program])

    def ratio(ours: str, theirs: str, which: int) -> float:
        pairs = zip(costs[ours], costs[theirs], strict=True)
        return statistics.median(a[which] / b[which] for a, b in pairs)

    peers = {
        "ldm --help": ("diffusers-cli --help", OF_HELP),
        "ldm generate": ("a script of Diffusers", OF_PICTURE),
    }
    ratios = {
        ours: {"cpu": ratio(ours, theirs, 0), "wall": ratio(ours, theirs, 1), "aim": aim}
        for ours, (theirs, aim) in peers.items()
    }
    missed = [name for name, one in ratios.items() if one["cpu"] > one["aim"]]
    quick = {name: median(name, 1) for name in ("ldm --help", "ldm plugins list")}
    missed += [f"{name} in {QUICK} s" for name, wall in quick.items() if wall > QUICK]
    missed += ["the same picture"] if worst > 1 else []
    return {
        "machine": describe("ldm-core", "diffusers", "transformers", "torch", "typer"),
        "rounds": len(of_parts),
        "seconds": {name: {"cpu": median(name, 0), "wall": median(name, 1)} for name in PROGRAMS},
        "ratios": ratios,
        "parts": {part: statistics.median(one[part] for one in of_parts) for part in of_parts[0]},
        "difference of 255": worst,
        "missed": missed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    chosen = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as compiled:
        os.environ["PYTHONPYCACHEPREFIX"] = compiled
        told = report(*measure(chosen.rounds))
    if chosen.json:
        chosen.json.write_text(json.dumps(told, indent=2) + "\n")
    print(told["machine"], f"medians of {told['rounds']}", sep=", ")
    for name, one in told["seconds"].items():
        print(f"{name:24} {one['cpu']:6.2f} s of a processor, {one['wall']:6.2f} s by the clock")
    for name, one in told["ratios"].items():
        print(
            f"{name} over its peer: {one['cpu']:.3f} of a processor (at most {one['aim']:.3f}), "
            f"{one['wall']:.3f} by the clock"
        )
    print("parts of the first picture, seconds of a processor:")
    for name, seconds in told["parts"].items():
        print(f"  {name:32} {seconds:6.2f}")
    print(f"the two pictures differ by {told['difference of 255']} of 255 at most")
    if told["missed"]:
        sys.exit(f"missed: {', '.join(told['missed'])}")


if __name__ == "__main__":
    main()
