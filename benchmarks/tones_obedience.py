"""How well a `tones` model does what its prompts say, heard in the sounds that it makes.

    python benchmarks/tones_obedience.py [--model FOLDER] [--each 5] [--json FILE]

Each of the twelve captions is asked for as often, with seeds that training never used: noise is
drawn otherwise there. `ldm_pipelines.tones.checker` hears each sound; a word is obeyed if it hears
it. Steps and guidance are the model's own unless others are named. The exit code is 1 where fewer
than nine in ten are what was asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ldm_pipelines.tones.captions import Sound, sounds
from ldm_pipelines.tones.checker import hear
from machine import describe
from obeyed import Shares, choices, parser, shares, write

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


def score(generate: Generate, asked: list[Sound], seed: int, batch: int = 12) -> Shares:
    """The share of sounds that obey each word and all, for every sound and for each caption."""
    obeyed = []
    for start in range(0, len(asked), batch):
        part = asked[start : start + batch]
        seeds = [seed + start + i for i in range(len(part))]
        made = generate([sound.caption for sound in part], seeds)
        heard = [hear(one).agrees(sound) for one, sound in zip(made, part, strict=True)]
        obeyed += [[one[word] for word in WORDS] for one in heard]
    return shares(obeyed, WORDS, [sound.caption for sound in asked], "sounds")


def main() -> None:
    flags = parser(__doc__, DEFAULT, seed=1000)
    flags.add_argument("--each", type=int, default=5, help="sounds of each caption")
    args = flags.parse_args()
    generate = (with_ldm if args.library == "ldm" else with_diffusers)(args.model, choices(args))
    machine = describe("torch", "diffusers", "transformers")
    print(machine)
    figures = score(generate, sounds() * args.each, args.seed)
    columns = (*WORDS, "all", "sounds")
    print(f"{'':20}" + "".join(f"{column:>10}" for column in columns))
    for name, row in figures.items():
        cells = "".join(f"{100 * row[column]:9.1f}%" for column in columns[:-1])
        print(f"{name:20}{cells}{row['sounds']:10.0f}")
    write(args, machine, figures)
    raise SystemExit(figures["every"]["all"] < LEAST)


if __name__ == "__main__":
    main()
