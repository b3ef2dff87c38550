"""Runs of pipelines under guidance, and what they cost."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import tiny
from ldm_core import Pipeline
from ldm_core.contracts import Bound, Call, Network, Row
from ldm_core.numerics.point import Point


def latents(pipe: Pipeline, kind: str = "Stable Diffusion", **call: Any) -> torch.Tensor:
    inputs = {**tiny.FOLDERS[kind].inputs, "seed": 1, "output_type": "latent", **call}
    images: torch.Tensor = pipe(**inputs).images
    return images


def in_a_run(pipe: Pipeline, kind: str) -> tuple[Bound, torch.Tensor, Any]:
    """A run of the pipeline: its guidance, the first x, and the positive condition."""
    inputs = dict(tiny.FOLDERS[kind].inputs)
    extent = {name: inputs.pop(name) for name in ("width", "height") if name in inputs}
    run = pipe.start(pipe.composition.plan(inputs, [1, 2], extent))
    return run._guidance, run.x, run.conditions()["positive"]


def ask(network: Network, x: torch.Tensor, point: Point, condition: Any) -> torch.Tensor:
    """A network's answer where all of x lies at one point."""
    rows = tuple(Row(image, "positive", point, 0, 1) for image in range(len(x)))
    return network(Call(x, torch.full((len(x),), point.t), condition, rows))


def counted(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch, **choices: Any) -> tuple[int, Any]:
    """How many rows the network's first convolution sees in a run of 4 steps, and what it ends
    in."""
    rows = []
    layer = pipe.model.parts["unet"].module.conv_in
    forward = layer.forward
    with monkeypatch.context() as patch:

        def counting(x: torch.Tensor) -> Any:
            rows.append(len(x))
            return forward(x)

        patch.setattr(layer, "forward", counting)
        end = latents(pipe.replace(**choices), num_inference_steps=4)
    return sum(rows), end
