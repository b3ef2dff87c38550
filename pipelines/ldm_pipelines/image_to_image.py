"""``ldm image-to-image``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ldm_core.run.in_batches import skipping
from ldm_pipelines.parts import Picture, arguments, conditioned, scaled, with_size
from ldm_pipelines.timed import check_makes

if TYPE_CHECKING:
    from ldm_core.run.output import Output
    from ldm_core.run.pipeline import Pipeline


@skipping
def image_to_image(
    pipe: Pipeline,
    image: Picture,
    *prompts: str,
    strength: float | None = None,
    denoising_start: float | None = None,
    **call: Any,
) -> Iterator[Output]:
    """Make pictures that start from a given one (Meng et al. 2021, arXiv:2108.01073).

    Args:
        image: The picture to start from; it is scaled to --size where that is given.
        prompts: What the new pictures should show.
        strength: Share of the way from noise that is walked, 0 to 1 (0.8); 0 changes nothing.
        denoising_start: In its place, how far the picture is on its way already, from 0 to below 1;
            no noise is added.
    """
    check_makes(pipe, "image", "image-to-image")
    whole = arguments(pipe, call, prompts)
    picture, size = scaled(pipe, image, whole)
    start = {} if denoising_start is None else {"denoising_start": denoising_start}
    if strength is not None or not start:
        start["strength"] = 0.8 if strength is None else strength
    whole = with_size(whole, size).with_inputs(image=picture, **start)
    return conditioned(pipe, "ldm-core:image").batches_of(whole)
