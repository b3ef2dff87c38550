"""``ldm image-to-image``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ldm_pipelines.parts import Picture, conditioned, scaled, told

if TYPE_CHECKING:
    from ldm_core.run.pipeline import Output, Pipeline


def image_to_image(
    pipe: Pipeline, image: Picture, *prompts: str, strength: float = 0.8, **run: Any
) -> Output:
    """Make pictures that start from a given one (Meng et al. 2021, arXiv:2108.01073).

    Args:
        image: The picture to start from; it is scaled to --size where that is given.
        prompts: What the new pictures should show.
        strength: Share of the way from noise that is walked, 0 to 1; 0 changes nothing.
    """
    picture, size = scaled(pipe, image, run)
    start = conditioned(pipe, "image")
    return start(**{**run, **told(prompts), **size}, image=picture, strength=strength)
