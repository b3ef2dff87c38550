"""How often a repainted quarter of a `shapes` picture shows the colour that its prompt asks for.

    python benchmarks/inpainting.py [--pictures 100] [--schedulers ddim euler …] [--json FILE]

Each picture shows a small shape within one of its quarters. That quarter is repainted with a prompt
that names another colour, and the judge in `ldm_pipelines.shapes.checker` reads the colour of what
is then there. Beside it stands how often the scheduler shows the colours of the same prompts
without a picture to keep, as some are poor with so few steps.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ldm_core import Pipeline
from ldm_pipelines.inpaint import box_mask
from ldm_pipelines.shapes.checker import read
from ldm_pipelines.shapes.scenes import COLOURS, PLACES, SIDE, Scene
from ldm_pipelines.shapes.world import draw_picture, draw_scene
from machine import describe

HALF = SIDE // 2
CORNERS = [place for place, way in PLACES.items() if all(way)]
SCHEDULERS = (
    *("ddim", "ddpm", "euler", "euler_ancestral", "heun", "dpmpp_2m", "dpmpp_2m_sde"),
    *("unipc", "deis", "lms"),
)


@dataclass(frozen=True)
class Task:
    """A picture, the quarter to repaint, and what is to be seen there."""

    picture: Image.Image
    left: int
    top: int
    asked: Scene

    @property
    def mask(self) -> Image.Image:
        return box_mask((SIDE, SIDE), (self.left, self.top, self.left + HALF, self.top + HALF))

    def obeyed(self, made: Image.Image) -> bool:
        """Whether what is seen has the colour, on its background."""
        found = read(np.asarray(made))
        return (found.colour, found.background) == (self.asked.colour, self.asked.background)


def draw_tasks(count: int, seed: int) -> list[Task]:
    """Pictures of a shape in a quarter, and what to make of it."""
    rng = np.random.default_rng(seed)
    tasks: list[Task] = []
    while len(tasks) < count:
        corner = CORNERS[int(rng.integers(len(CORNERS)))]
        left, top = (HALF if way > 0 else 0 for way in PLACES[corner])
        scene = replace(draw_scene(rng), size="small", place=corner)
        others = [c for c in COLOURS if c not in (scene.colour, scene.background)]
        asked = replace(scene, colour=str(rng.choice(others)))
        pixels = draw_picture(scene, rng)
        rest = np.ones((SIDE, SIDE), bool)
        rest[top : top + HALF, left : left + HALF] = False
        within = bool((pixels[rest] == COLOURS[scene.background]).all())
        if within and not asked.held_out:
            tasks.append(Task(Image.fromarray(pixels), left, top, asked))
    return tasks


def obedience(pipe: Pipeline, tasks: Sequence[Task], seed: int, batch: int, **inputs: Any) -> float:
    """The share of pictures that then show the colour."""
    prompts = [task.asked.caption for task in tasks]
    made = pipe(prompts, seed=seed, batch_size=batch, **inputs).images
    return sum(map(Task.obeyed, tasks, made)) / len(tasks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="shapes")
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--schedulers", nargs="+", default=SCHEDULERS)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    machine = describe("torch", "diffusers")
    print(machine)
    tasks = draw_tasks(args.pictures, args.seed)
    untouched = sum(task.obeyed(task.picture) for task in tasks) / len(tasks)
    print(f"{'as they were':16} {100 * untouched:5.1f}%")
    plain = Pipeline.from_pretrained(args.model, num_inference_steps=args.steps)
    pictures = [task.picture for task in tasks]
    masks = [task.mask for task in tasks]
    figures: dict[str, dict[str, float]] = {}
    print(f"{'':16} repainted  from text")
    for name in args.schedulers:
        pipe = plain.replace(scheduler=name)
        masked = pipe.replace(conditioning=["text", "mask"])
        figures[name] = {
            "repainted": obedience(
                masked, tasks, args.seed, args.batch, image=pictures, mask=masks
            ),
            "from_text": obedience(pipe, tasks, args.seed, args.batch),
        }
        shares = "".join(f"{100 * share:10.1f}%" for share in figures[name].values())
        print(f"{name:16}{shares}", flush=True)
    if args.json:
        settings = {k: v for k, v in vars(args).items() if k != "json"}
        found = {"machine": machine, "settings": settings, "obeyed": figures}
        args.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
