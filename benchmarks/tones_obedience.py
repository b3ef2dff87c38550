"""How well a `tones` model does what its prompts say, heard in the sounds that it makes.

    python benchmarks/tones_obedience.py [--model FOLDER] [--each 5] [--json FILE]

Each of the twelve captions is asked for as often, with seeds that training never used: noise is
drawn otherwise there. `ldm_pipelines.tones.checker` hears each sound; a word is obeyed if it hears
it. Steps and guidance are the model's own unless others are named. The exit code is 1 where fewer
than nine in ten are what was asked for.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ldm_pipelines.tones.captions import Sound, sounds
from ldm_pipelines.tones.checker import hear
from machine import describe

DEFAULT = Path(__file__).parent.parent / "pipelines/ldm_pipelines/models/tones"
WORDS = ("pitch", "times")
LEAST = 0.9
"""The share that is to obey all."""
Generate = Callable[[list[str], list[int]], np.ndarray[Any, Any]]  # prompts, a seed for each


def with_ldm(model: Path, choices: dict[str, Any]) -> Generate:
    """Prompts to sounds (N, 8192) in [-1, 1] with this project's pipeline."""
    from ldm_core import Pipeline

    pipe = Pipeline.from_pretrained(str(model))

    def generate(prompts: list[str], seeds: list[int]) -> np.ndarray[Any, Any]:
        return np.asarray(pipe(prompts, seed=seeds, output_type="np", **choices).images)[:, 0]

    return generate


def with_diffusers(model: Path, choices: dict[str, Any]) -> Generate:
    """The same with `diffusers.StableAudioPipeline`, which has other steps and guidance of its own
    where none are named, and whose scheduler needs torchsde."""
    import torch
    from diffusers import StableAudioPipeline

    pipe = StableAudioPipeline.from_pretrained(model)
    pipe.set_progress_bar_config(disable=True)

    def generate(prompts: list[str], seeds: list[int]) -> np.ndarray[Any, Any]:
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        return np.asarray(pipe(prompts, generator=generators, output_type="np", **choices).audios)[
            :, 0
        ]

    return generate


def score(generate: Generate, asked: list[Sound], seed: int, batch: int = 12) -> dict[str, Any]:
    """The share of sounds that obey each word and all, for every sound and for each caption."""
    heard, obeyed = [], []
    for start in range(0, len(asked), batch):
        part = asked[start : start + batch]
        seeds = [seed + start + i for i in range(len(part))]
        made = generate([sound.caption for sound in part], seeds)
        heard += [hear(samples) for samples in made]
    obeyed = [hearing.agrees(sound) for hearing, sound in zip(heard, asked, strict=True)]
    table = np.array([[one[word] for word in WORDS] for one in obeyed])
    names = np.array([sound.caption for sound in asked])
    parts = {"every": np.full(len(asked), True)} | {n: names == n for n in dict.fromkeys(names)}
    return {
        name: {
            **{word: float(table[rows, i].mean()) for i, word in enumerate(WORDS)},
            "all": float(table[rows].all(1).mean()),
            "sounds": float(rows.sum()),
        }
        for name, rows in parts.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=DEFAULT)
    parser.add_argument("--each", type=int, default=5, help="sounds of each caption")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance-scale", type=float)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--with", dest="library", choices=["ldm", "diffusers"], default="ldm")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    library = with_ldm if args.library == "ldm" else with_diffusers
    named = {"num_inference_steps": args.steps, "guidance_scale": args.guidance_scale}
    choices = {name: value for name, value in named.items() if value is not None}
    generate = library(args.model, choices)
    machine = describe("torch", "diffusers", "transformers")
    print(machine)
    figures = score(generate, sounds() * args.each, args.seed)
    columns = (*WORDS, "all", "sounds")
    print(f"{'':20}" + "".join(f"{column:>10}" for column in columns))
    for name, row in figures.items():
        cells = "".join(f"{100 * row[column]:9.1f}%" for column in columns[:-1])
        print(f"{name:20}{cells}{row['sounds']:10.0f}")
    if args.json:
        settings = {k: v for k, v in vars(args).items() if k not in ("json", "model")}
        report = {"machine": machine, "settings": settings, **figures}
        args.json.write_text(json.dumps(report, indent=2) + "\n")
    raise SystemExit(figures["every"]["all"] < LEAST)


if __name__ == "__main__":
    main()
