"""Nothing chosen, all in float32: the same latents as Diffusers' own pipeline on this device, as
this project on a CPU, as another time, and as in a batch of eight."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import Tensor

from ldm_core import Pipeline
from on_gpu.bench import Bench, Figures, apart, generators, tf32
from peers import Decoded
from tiny import FOLDERS

PROMPT = "a large red circle on a blue background"
SEED, STEPS, BATCH = 3, 20, 8


@dataclass(frozen=True)
class Task:
    """What is drawn with a model.

    Attributes:
        inputs: of one image, as both programs call them.
        their: what Diffusers' pipeline alone is told.
    """

    inputs: Mapping[str, Any]
    their: Mapping[str, Any] = field(default_factory=dict)
    steps: int = STEPS


SHIPPED = {
    "shapes": Task({"prompt": PROMPT}, {"guidance_scale": 4.0}),
    "digits": Task({"class_label": 7}, {"guidance_scale": 2.0}),
}
"""Of the models that ship, with their own guidance, which Diffusers' folders cannot hold."""
SMALL: dict[str, Any] = {"prompt": "a red star", "width": 64, "height": 64}
TINY = {
    "Stable Diffusion": Task({"prompt": "a red star"}),
    "SDXL": Task({"prompt": "a red star"}),
    "SD 3": Task({"prompt": "a red star"}),
    "Flux dev": Task(SMALL),
    "PixArt alpha": Task(SMALL, {"use_resolution_binning": False, "clean_caption": False}),
}
"""Of the folders that the tests make: real classes, random weights."""


class Peer:
    """Diffusers' own pipeline of a folder, in float32; it gives latents as ours has them."""

    def __init__(self, folder: Path, device: str) -> None:
        self.pipe = diffusers.DiffusionPipeline.from_pretrained(folder).to(device)
        self.pipe.set_progress_bar_config(disable=True)
        self.decoded = None
        if isinstance(self.pipe, diffusers.DiTPipeline):  # it gives pictures alone
            self.decoded = Decoded(self.pipe.vae)

    def __call__(self, task: Task, steps: int) -> Tensor:
        call = {**task.inputs, **task.their, "num_inference_steps": steps}
        call["generator"] = generators(range(SEED, SEED + 1))
        if self.decoded is not None:
            self.pipe([call.pop("class_label")], output_type="np", **call)
            return self.decoded.pop()
        found: Tensor = self.pipe(output_type="latent", **call).images
        if isinstance(self.pipe, diffusers.FluxPipeline):
            size = call["height"], call["width"], self.pipe.vae_scale_factor
            found = self.pipe._unpack_latents(found, *size)
        return found


def compare(bench: Bench, source: str | Path, task: Task) -> Figures:
    steps = 4 if bench.quick else task.steps
    ours = Pipeline.from_pretrained(source, device=bench.device, dtype="float32")
    on_cpu = Pipeline.from_pretrained(source, device="cpu")
    peer = Peer(ours.composition.info.folder, bench.device)
    call: dict[str, Any] = {"num_inference_steps": steps, "output_type": "latent"}

    def draw(pipe: Pipeline, **more: Any) -> Tensor:
        latents: Tensor = pipe(**{**task.inputs, "seed": SEED, **call, **more}).images
        return latents

    cpu = draw(on_cpu)
    as_set, theirs = draw(ours), peer(task, steps)
    with tf32(False):
        exact, theirs_exact = draw(ours), peer(task, steps)
        again = draw(ours)
        eight = draw(ours, num_images_per_prompt=BATCH, seed=SEED - 1)
    return {
        "diffusers_here": apart(exact, theirs_exact),
        "cpu": apart(exact, cpu),
        "the_same_twice": torch.equal(exact, again),
        "in_a_batch_of_8": apart(eight[1:2], exact),
        "diffusers_here_tf32_as_set": apart(as_set, theirs),
        "cpu_tf32_as_set": apart(as_set, cpu),
    }


def run(bench: Bench) -> None:
    for name, task in SHIPPED.items():
        bench.measure(name, lambda name=name, task=task: compare(bench, name, task))
    with tempfile.TemporaryDirectory() as place:
        for number, (name, task) in enumerate(TINY.items()):

            def tiny(number: int = number, name: str = name, task: Task = task) -> Figures:
                return compare(bench, FOLDERS[name].write(Path(place) / str(number)), task)

            bench.measure(name, tiny)
