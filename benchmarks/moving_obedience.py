"""How well a `moving-shapes` model does what its prompts say, read from the frames that it makes.

    python benchmarks/moving_obedience.py [--model FOLDER] [--prompts 100] [--json FILE]

"Seen" prompts combine colour, shape, direction and background as training did; "held out" ones as
it never did. `ldm_pipelines.moving_shapes.checker` reads each video; a word is obeyed if it reads
it. Steps and guidance are the model's own unless others are named.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ldm_pipelines.moving_shapes.checker import read
from ldm_pipelines.moving_shapes.scenes import FRAMES, Motion, motions
from machine import describe
from obeyed import Shares, choices, parser, shares, write

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


def score(generate: Generate, asked: list[Motion], seed: int, batch: int = 20) -> Shares:
    """The share of videos that obey each word, and all, over all prompts and by direction."""
    obeyed = []
    for start in range(0, len(asked), batch):
        part = asked[start : start + batch]
        videos = generate([motion.caption for motion in part], seed + start)
        readings = [read(video).agrees(m) for m, video in zip(part, videos, strict=True)]
        obeyed += [[reading[word] for word in WORDS] for reading in readings]
    names = [motion.direction for motion in asked]
    return shares(obeyed, WORDS, names, "videos", together=WORDS[:2])


def main() -> None:
    flags = parser(__doc__, DEFAULT, seed=7)
    flags.add_argument("--prompts", type=int, default=100, help="of each kind")
    args = flags.parse_args()
    generate = (with_ldm if args.library == "ldm" else with_diffusers)(args.model, choices(args))
    machine = describe("torch", "diffusers", "transformers")
    print(machine)
    figures: dict[str, Shares] = {}
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
    write(args, machine, figures)


if __name__ == "__main__":
    main()
