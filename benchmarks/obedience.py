"""How well a `shapes` model does what its prompts say, read from the pixels of what it makes.

    python benchmarks/obedience.py [--model FOLDER] [--prompts 300] [--json FILE]

Half of the prompts name a place. "Seen" ones combine shape, colour and background as training
did; "held out" ones combine them as it never did. Each word counts as obeyed if the judge in
`ldm_pipelines.shapes.checker` reads it from the picture.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ldm_pipelines.shapes.checker import read
from ldm_pipelines.shapes.scenes import Scene
from ldm_pipelines.shapes.world import draw_scene
from machine import describe

DEFAULT = Path(__file__).parent.parent / "pipelines/ldm_pipelines/models/shapes"
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


def score(generate: Generate, scenes: list[Scene], seed: int, batch: int = 50) -> dict[str, float]:
    """The share of pictures that obey each word, and all of them."""
    rows = []
    for start in range(0, len(scenes), batch):
        part = scenes[start : start + batch]
        pictures = generate([scene.caption for scene in part], seed + start)
        for scene, picture in zip(part, pictures, strict=True):
            rows.append([read(picture).agrees(scene)[word] for word in WORDS])
    table = np.array(rows)
    shares = {word: float(table[:, i].mean()) for i, word in enumerate(WORDS)}
    return shares | {"all": float(table.all(1).mean())}


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
    figures = {}
    print(f"{'':10}" + "".join(f"{word:>12}" for word in (*WORDS, "all")))
    for kind, held_out in (("seen", False), ("held out", True)):
        rng = np.random.default_rng([args.seed, held_out])
        scenes = [draw_scene(rng, held_out=held_out) for _ in range(args.prompts)]
        figures[kind] = score(generate, scenes, args.seed)
        print(f"{kind:10}" + "".join(f"{100 * v:11.1f}%" for v in figures[kind].values()))
    if args.json:
        settings = {k: v for k, v in vars(args).items() if k not in ("json", "model")}
        found = {"machine": machine, "settings": settings, **figures}
        args.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
