"""How well a `shapes` model does what its prompts say, read from the pixels of what it makes.

    python benchmarks/obedience.py [--model FOLDER] [--prompts 300] [--json FILE]

Half of the prompts name a place. "Seen" ones combine shape, colour and background as training
did; "held out" ones combine them as it never did. Two checkers that share no code read each
picture: `ldm_pipelines.shapes.checker` by templates, `ldm_pipelines.shapes.outline` by harmonics of
the outline; a word is obeyed if the checker reads it. "Both" asks both; the last column says how
often the two read the same of a picture.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ldm_pipelines.shapes import checker, outline
from ldm_pipelines.shapes.scenes import SHAPES, Scene
from ldm_pipelines.shapes.world import draw_scene
from machine import describe

DEFAULT = Path(__file__).parent.parent / "pipelines/ldm_pipelines/models/shapes"
CHECKERS = {"templates": checker.read, "outline": outline.read}
WORDS = ("background", "colour", "size", "place", "shape")
Generate = Callable[[list[str], int], np.ndarray[Any, Any]]  # prompts, seed of the first


def with_ldm(model: Path, steps: int, guidance_scale: float) -> Generate:
    """Prompts to pictures (N, 64, 64, 3) in [0, 1] with this project's pipeline."""
    from ldm_core import Pipeline

    pipe = Pipeline.from_pretrained(str(model))

    def generate(prompts: list[str], seed: int) -> np.ndarray[Any, Any]:
        result = pipe(
            prompts,
            seed=seed,
            num_inference_steps=steps,
            guidance_scale=guidance_scale,
            output_type="np",
        )
        return np.asarray(result.images)

    return generate


def with_diffusers(model: Path, steps: int, guidance_scale: float) -> Generate:
    """The same with `diffusers.StableDiffusionPipeline` and the scheduler in the folder."""
    import torch
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(model)
    pipe.to("cuda" if torch.cuda.is_available() else "cpu")
    pipe.set_progress_bar_config(disable=True)

    def generate(prompts: list[str], seed: int) -> np.ndarray[Any, Any]:
        generators = [torch.Generator().manual_seed(seed + i) for i in range(len(prompts))]
        return np.asarray(
            pipe(
                prompts,
                num_inference_steps=steps,
                guidance_scale=guidance_scale,
                generator=generators,
                output_type="np",
            ).images
        )

    return generate


def score(
    generate: Generate, scenes: list[Scene], seed: int, batch: int = 50
) -> dict[str, dict[str, float]]:
    """The share of pictures that obey each word, all words, and all words of a shape.

    By each checker, by both, and how often the two read the same.
    """
    readings = []
    for start in range(0, len(scenes), batch):
        part = scenes[start : start + batch]
        pictures = generate([scene.caption for scene in part], seed + start)
        readings += [[read(picture) for read in CHECKERS.values()] for picture in pictures]
    # (scenes, checkers, words)
    obeyed = np.array(
        [
            [[reading.agrees(scene)[word] for word in WORDS] for reading in row]
            for scene, row in zip(scenes, readings, strict=True)
        ]
    )
    same = float(np.mean([first == second for first, second in readings]))
    shapes = np.array([scene.shape for scene in scenes])

    def shares(table: np.ndarray[Any, Any]) -> dict[str, float]:
        right = table.all(1)
        return {
            **{word: float(table[:, i].mean()) for i, word in enumerate(WORDS)},
            "all": float(right.mean()),
            **{f"all of a {s}": float(right[shapes == s].mean()) for s in SHAPES if s in shapes},
        }

    figures = {name: shares(obeyed[:, i]) for i, name in enumerate(CHECKERS)}
    return {**figures, "both": {**shares(obeyed.all(1)), "the two read the same": same}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=DEFAULT)
    parser.add_argument("--prompts", type=int, default=300, help="of each kind")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance-scale", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--with", dest="library", choices=["ldm", "diffusers"], default="ldm")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    library = with_ldm if args.library == "ldm" else with_diffusers
    generate = library(args.model, args.steps, args.guidance_scale)
    machine = describe("torch", "diffusers", "transformers")
    print(machine)
    figures: dict[str, dict[str, dict[str, float]]] = {}
    print(f"{'':20}" + "".join(f"{word:>12}" for word in (*WORDS, "all", "same")))
    for kind, held_out in (("seen", False), ("held out", True)):
        rng = np.random.default_rng([args.seed, held_out])
        scenes = [draw_scene(rng, held_out=held_out) for _ in range(args.prompts)]
        figures[kind] = score(generate, scenes, args.seed)
        for name, table in figures[kind].items():
            row = [table[word] for word in (*WORDS, "all")]
            row += [table[key] for key in table if key == "the two read the same"]
            print(f"{kind:10}{name:10}" + "".join(f"{100 * share:11.1f}%" for share in row))
        of_shapes = [(s, figures[kind]["both"].get(f"all of a {s}")) for s in SHAPES]
        print(
            f"{kind:10}all by both: "
            + ", ".join(f"{s} {100 * share:.1f}%" for s, share in of_shapes if share is not None)
        )
    if args.json:
        settings = {k: v for k, v in vars(args).items() if k not in ("json", "model")}
        report = {"machine": machine, "settings": settings, **figures}
        args.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
