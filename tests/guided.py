"""Runs of pipelines under guidance, and what they cost."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import tiny
from ldm_core import Pipeline


def latents(pipe: Pipeline, kind: str = "Stable Diffusion", **call: Any) -> torch.Tensor:
    inputs = {**tiny.FOLDERS[kind].inputs, "seed": 1, "output_type": "latent", **call}
    found: torch.Tensor = pipe(**inputs).images
    return found


def asked(pipe: Pipeline, kind: str) -> tuple[Any, torch.Tensor, Any]:
    """A run of the pipeline: its guidance, the first x, and the positive condition."""
    inputs = dict(tiny.FOLDERS[kind].inputs)
    size = {name: inputs.pop(name, None) for name in ("width", "height")}
    run = pipe.start(pipe.composition.request(inputs, [1, 2], **size))
    run.denoiser()
    return run._guidance, run.x, run.conditions()["positive"]


def counted(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch, **choices: Any) -> tuple[int, Any]:
    """How many rows the network's first convolution sees in a run of 4 steps, and what is made."""
    rows = []
    layer = pipe.model.components["unet"].conv_in
    forward = layer.forward
    with monkeypatch.context() as patch:

        def counting(x: torch.Tensor) -> Any:
            rows.append(len(x))
            return forward(x)

        patch.setattr(layer, "forward", counting)
        made = latents(pipe.replace(**choices), num_inference_steps=4)
    return sum(rows), made
