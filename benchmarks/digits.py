"""How well a `digits` model writes the digits it is asked for, and whether it copies real ones.

    python benchmarks/digits.py [--model FOLDER] [--each 50] [--json FILE]

A classifier fitted on the real training half reads the generated digits ("read as asked") and the
real test half ("real digits read"). "Distance" is the mean, over generated digits, of the
Euclidean distance to the nearest of the training half, divided by the same mean over the test half:
copies would have 0. "Learnt from generated" is the share of the real test half that a classifier
fitted on the generated digits alone reads.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ldm_pipelines.digits.data import Half, Pictures, halves, to_cells
from ldm_pipelines.digits.reader import fit_reader, nearest_distances
from machine import describe

DEFAULT = Path(__file__).parent.parent / "pipelines/ldm_pipelines/models/digits"
Generate = Callable[[list[int], int], "np.ndarray[Any, Any]"]  # classes, seed of the first


def with_ldm(model: Path, **choices: Any) -> Generate:
    """Classes to pictures (n, 32, 32, 3) in [0, 1] with this project's pipeline."""
    from ldm_core import Pipeline

    pipe = Pipeline.from_pretrained(str(model))

    def generate(classes: list[int], seed: int) -> np.ndarray[Any, Any]:
        found = pipe(class_label=classes, seed=seed, output_type="np", **choices)
        return np.asarray(found.images)

    return generate


def with_diffusers(model: Path, **choices: Any) -> Generate:
    """The same with `diffusers.DiTPipeline`."""
    import torch
    from diffusers import DiTPipeline

    pipe = DiTPipeline.from_pretrained(model)
    pipe.set_progress_bar_config(disable=True)

    def generate(classes: list[int], seed: int) -> np.ndarray[Any, Any]:
        generators = [torch.Generator().manual_seed(seed + i) for i in range(len(classes))]
        return np.asarray(pipe(classes, generator=generators, output_type="np", **choices).images)

    return generate


def draw(generate: Generate, each: int, seed: int, batch: int = 50) -> Half:
    """So many digits of each class."""
    labels = np.repeat(np.arange(10), each)
    parts: list[Pictures] = []
    for start in range(0, len(labels), batch):
        made = generate(labels[start : start + batch].tolist(), seed + start)
        parts.append(np.round(made * 255).astype(np.uint8))
    return Half(to_cells(np.concatenate(parts)), labels)


def measure(made: Half) -> dict[str, float]:
    """The figures, see above."""
    training, test = halves()
    read = fit_reader(training)
    right = read(made.cells) == made.labels
    to_training = nearest_distances(made.cells, training.cells).mean()
    return {
        "real digits read": float((read(test.cells) == test.labels).mean()),
        "read as asked": float(right.mean()),
        "worst digit": min(float(right[made.labels == digit].mean()) for digit in range(10)),
        "distance": float(to_training / nearest_distances(test.cells, training.cells).mean()),
        "learnt from generated": float((fit_reader(made)(test.cells) == test.labels).mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=DEFAULT)
    parser.add_argument("--each", type=int, default=50, help="digits of each class")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance-scale", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--with", dest="library", choices=["ldm", "diffusers"], default="ldm")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    library = with_ldm if args.library == "ldm" else with_diffusers
    generate = library(
        args.model, num_inference_steps=args.steps, guidance_scale=args.guidance_scale
    )
    machine = describe("torch", "diffusers", "scikit-learn")
    print(machine)
    figures = measure(draw(generate, args.each, args.seed))
    for name, value in figures.items():
        print(f"{name:22}{value:8.3f}")
    if args.json:
        settings = {k: v for k, v in vars(args).items() if k not in ("json", "model")}
        found = {"machine": machine, "settings": settings, **figures}
        args.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
