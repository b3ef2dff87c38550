"""How well a `moving-shapes` model does what its prompts say, read from the frames that it makes.

    python benchmarks/moving_obedience.py [--model FOLDER] [--prompts 100] [--json FILE]

"Seen" prompts combine colour, shape, direction and background as training did; "held out" ones as
it never did. `ldm_pipelines.moving_shapes.checker` reads each video; a word is obeyed if it reads
it. Steps and guidance are the model's own unless others are named.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ldm_pipelines.moving_shapes.checker import read
from ldm_pipelines.moving_shapes.scenes import FRAMES, Motion, motions
from machine import describe

DEFAULT = Path(__file__).parent.parent / "pipelines/ldm_pipelines/models/moving-shapes"
WORDS = ("colour", "direction", "background", "shape")
Generate = Callable[[list[str], int], np.ndarray[Any, Any]]  # prompts, seed of the first


def with_ldm(model: Path, choices: dict[str, Any]) -> Generate:
    """Prompts to videos (N, 8, 64, 64, 3) in [0, 1] with this project's pipeline."""
    from ldm_core import Pipeline

    pipe = Pipeline.from_pretrained(str(model))

    def generate(prompts: list[str], seed: int) -> np.ndarray[Any, Any]:
        return np.asarray(pipe(prompts, seed=seed, output_type="np", **choices).images)

    return generate


def with_diffusers(model: Path, choices: dict[str, Any]) -> Generate:
    """The same with `diffusers.AnimateDiffPipeline`, which has other steps and guidance of its own
    where none are named."""
    import torch
    from diffusers import AnimateDiffPipeline

    pipe = AnimateDiffPipeline.from_pretrained(model)
    pipe.set_progress_bar_config(disable=True)

    def generate(prompts: list[str], seed: int) -> np.ndarray[Any, Any]:
        generators = [torch.Generator().manual_seed(seed + i) for i in range(len(prompts))]
        made = pipe(
            prompts, num_frames=FRAMES, generator=generators, output_type="np", **choices
        )  # fmt: skip
        return np.asarray(made.frames)

    return generate


def score(
    generate: Generate, asked: list[Motion], seed: int, batch: int = 20
) -> dict[str, dict[str, float]]:
    """The share of videos that obey each word, and all, over all prompts and by direction."""
    obeyed = []
    for start in range(0, len(asked), batch):
        part = asked[start : start + batch]
        videos = generate([motion.caption for motion in part], seed + start)
        readings = [read(video).agrees(m) for m, video in zip(part, videos, strict=True)]
        obeyed += [[reading[word] for word in WORDS] for reading in readings]
    table = np.array(obeyed)
    names = np.array([motion.direction for motion in asked])
    parts = {"every": np.full(len(asked), True)} | {n: names == n for n in sorted(set(names))}
    return {
        name: {
            **{word: float(table[rows, i].mean()) for i, word in enumerate(WORDS)},
            "colour and direction": float(table[rows, :2].all(1).mean()),
            "all": float(table[rows].all(1).mean()),
            "videos": float(rows.sum()),
        }
        for name, rows in parts.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=DEFAULT)
    parser.add_argument("--prompts", type=int, default=100, help="of each kind")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance-scale", type=float)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--with", dest="library", choices=["ldm", "diffusers"], default="ldm")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    library = with_ldm if args.library == "ldm" else with_diffusers
    named = {"num_inference_steps": args.steps, "guidance_scale": args.guidance_scale}
    choices = {name: value for name, value in named.items() if value is not None}
    generate = library(args.model, choices)
    machine = describe("torch", "diffusers", "transformers")
    print(machine)
    figures: dict[str, dict[str, dict[str, float]]] = {}
    columns = (*WORDS, "colour and direction", "all", "videos")
    print(f"{'':18}" + "".join(f"{column:>22}" for column in columns))
    for kind, held_out in (("seen", False), ("held out", True)):
        rng = np.random.default_rng([args.seed, held_out])
        choice = motions(held_out=held_out)
        asked = [choice[rng.integers(len(choice))] for _ in range(args.prompts)]
        figures[kind] = score(generate, asked, args.seed)
        for name, row in figures[kind].items():
            cells = "".join(f"{100 * row[column]:21.1f}%" for column in columns[:-1])
            print(f"{kind:10}{name:8}{cells}{row['videos']:22.0f}")
    if args.json:
        settings = {k: v for k, v in vars(args).items() if k not in ("json", "model")}
        report = {"machine": machine, "settings": settings, **figures}
        args.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
