"""Pipelines of Diffusers that give packed latents, with their latents unpacked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class Unpacked:
    """A pipeline whose latents are tokens of 2x2 pixels, which gives them as ours have them."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline
        self.set_progress_bar_config = pipeline.set_progress_bar_config

    def __call__(self, *, width: int, height: int, output_type: str, **call: Any) -> Any:
        made = self.pipeline(width=width, height=height, output_type=output_type, **call).images
        if output_type == "latent":
            factor = 2 * self.pipeline.vae_scale_factor
            rows, columns = height // factor, width // factor
            made = made.unflatten(1, (rows, columns)).unflatten(-1, (-1, 2, 2))
            made = made.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)
        return SimpleNamespace(images=made)
