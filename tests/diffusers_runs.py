"""One run of a scheduler's config, by Diffusers' class and by what the config becomes here.

The network is a closed form that needs no weights. That of Diffusers' own scheduler tests is
`plain`; `mixing` vanishes nowhere, and no two elements of its answers stand in one ratio to x.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import torch
from PIL import Image
from torch import Tensor

from ldm_core.composition.compose import compose
from ldm_core.composition.composition import Composition
from ldm_core.contracts import Denoise, Grid
from ldm_core.numerics.point import Point
from ldm_core.plugins.registry import installed

SHAPE = (4, 3, 8, 8)


@dataclass(frozen=True)
class Run:
    """A run from noise, or part-way from a picture.

    Attributes:
        cls: the scheduler class of Diffusers, without "Scheduler".
        config: its settings, in its words.
        steps: of the whole way.
        strength: share of the way that is walked, from a picture where below 1.
    """

    cls: str
    config: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 10
    strength: float = 1.0

    def __str__(self) -> str:
        config = ", ".join(f"{key}={value}" for key, value in self.config.items())
        return f"{self.cls}({config}) {self.steps} steps, strength {self.strength:g}"


Network = Callable[[Tensor, Tensor], Tensor]
"""``network(x, t)`` of the scaled x and the timestep."""


def plain(x: Tensor, t: Tensor) -> Tensor:
    """x·t/(t + 1)."""
    return x * t / (t + 1)


def mixing(x: Tensor, t: Tensor) -> Tensor:
    """Of x, its neighbour and the timestep."""
    return 0.5 * torch.tanh(x) + 0.3 * x.roll(1, -1) + 0.2 * t / (t + 100)


def ramp(down: bool = False, shape: Sequence[int] = SHAPE) -> Tensor:
    """The whole numbers below their count, over it, the batch running fastest."""
    numbers = torch.arange(math.prod(shape))
    numbers = (numbers.flip(-1) if down else numbers).reshape(*shape[1:], shape[0])
    return (numbers / math.prod(shape)).movedim(-1, 0)


def drawing(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scheduler_of(run: Run) -> Any:
    """Diffusers' class with the settings of a run, its timesteps set."""
    scheduler = getattr(diffusers, f"{run.cls}Scheduler")(**run.config)
    scheduler.set_timesteps(run.steps)
    return scheduler


def of_diffusers(
    run: Run,
    picture: Tensor,
    noise: Tensor,
    make: Callable[[Run], Any] = scheduler_of,
) -> Tensor:
    """Where Diffusers' class leads, as its pipelines for Stable Diffusion use it.

    Args:
        picture: latents to start from, for a strength below 1.
        noise: unit noise like it.
        make: the scheduler.
    """
    scheduler = make(run)
    timesteps = scheduler.timesteps
    if run.strength < 1:
        skipped = run.steps - min(int(run.steps * run.strength), run.steps)
        timesteps = timesteps[skipped * scheduler.order :]
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(skipped * scheduler.order)
        x = scheduler.add_noise(picture, noise, timesteps[:1])
    else:
        x = noise * scheduler.init_noise_sigma
    takes = inspect.signature(scheduler.step).parameters
    extra = {"eta": 0.0, "generator": drawing()}
    extra = {key: value for key, value in extra.items() if key in takes}
    for t in timesteps:
        output = mixing(scheduler.scale_model_input(x, t), t)
        x = scheduler.step(output, t, x, **extra, return_dict=False)[0]
    return x


class Folder:
    """A model folder whose scheduler's config is written anew for each run.

    Args:
        path: of a folder of pixels, whose family takes a config as it stands; that of Stable
            Diffusion corrects old ones, as its pipeline in Diffusers does.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path / "scheduler" / "scheduler_config.json"

    def composition(self, run: Run) -> Composition:
        """What a run's config becomes, with nothing chosen."""
        config = {"_class_name": f"{run.cls}Scheduler", **run.config}
        self._file.write_text(json.dumps(config))
        conditioning = ["image"] if run.strength < 1 else []
        return compose({"model": str(self._path), "conditioning": conditioning}, installed())

    def of_ours(self, run: Run, picture: Tensor, noise: Tensor) -> Tensor:
        """Where this project leads; arguments as of `of_diffusers`."""
        composition = self.composition(run)
        inputs: dict[str, Any] = {}
        if run.strength < 1:
            inputs = {"image": Image.new("RGB", SHAPE[2:]), "strength": run.strength}
        grid = composition.plan(inputs, [0], num_inference_steps=run.steps).grid
        first, schedule = grid[0], composition.info.noise_schedule
        if run.strength < 1:
            x = first.alpha * picture + first.sigma * noise
        else:
            x = noise * composition.scheduler.start(first, schedule.at(schedule.last))
        return walk(composition, x, grid)


def walk(
    composition: Composition,
    x: Tensor,
    grid: Grid,
    network: Network = mixing,
    rescales: int = 0,
) -> Tensor:
    """The end of a walk.

    Args:
        rescales: how many calls a step makes, for the loops of Diffusers' tests: they put the x
            that is scaled for the network in the place of x, and so its classes that keep x/alpha
            step from alpha·x. 0 leaves x alone.
    """
    prediction, draws = composition.info.prediction_type, drawing()
    calls = 0

    def denoise(x: Tensor, point: Point) -> Tensor:
        nonlocal calls
        output = network(x, torch.tensor(point.t))
        if not rescales:
            return prediction.to_x0(output, x, point)
        calls += 1
        if calls % rescales == 1 % rescales:
            x.mul_(point.alpha)  # in place: the scheduler goes on with it
            return prediction.to_x0(output, x, point)
        # A step's second call looks ahead from there: of its x only the noise in it counts.
        seen = point.alpha * x
        noise = (seen - point.alpha * prediction.to_x0(output, seen, point)) / point.sigma
        return (x - point.sigma * noise) / point.alpha

    wrapped: Denoise = denoise
    for wrapper in composition.denoisers:
        wrapped = wrapper.wrap(wrapped)
    end = composition.scheduler.walk(
        x.clone(), grid, wrapped, lambda: torch.randn(x.shape, generator=draws)
    )
    assert isinstance(end, Tensor)
    return end
