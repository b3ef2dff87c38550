"""``ldm upscale``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from PIL import Image
from pydantic import Field

from ldm_core.errors import LdmError
from ldm_core.run.in_batches import in_batches
from ldm_pipelines.parts import (
    Picture,
    arguments,
    channels_of,
    check_fits,
    check_share,
    check_shown_as,
    finished,
    guided,
    made_from,
    nearest_size,
    open_picture,
    plans,
    titles_of,
    with_size,
)
from ldm_pipelines.timed import check_makes

if TYPE_CHECKING:
    from ldm_core.contracts import Plan
    from ldm_core.run.output import Output
    from ldm_core.run.pipeline import Pipeline


@in_batches
def upscale(
    pipe: Pipeline,
    image: Picture,
    *prompts: str,
    factor: Annotated[float, Field(gt=1)] = 2.0,
    by: Literal["latents", "pixels"] = "pixels",
    strength: float = 0.3,
    **call: Any,
) -> Iterator[Output]:
    """Make a larger picture: enlarge it, and make its details anew a part of the way.

    Args:
        image: The picture.
        prompts: What it shows.
        factor: How many times as wide and high it becomes, rounded to a size that the model takes.
        by: What is enlarged: the picture's latents (bicubic) or its pixels (Lanczos).
        strength: Share of the way from noise that is walked, 0 to 1.
    """
    check_share("strength", strength)
    if not 1 < factor < math.inf:
        raise LdmError(f"the factor should be a number above 1, not {factor!r}.")
    picture = open_picture(image, channels_of(pipe))
    width, height = nearest_size(pipe, *(side * factor for side in picture.size))
    if by == "latents":
        check_fits(pipe, picture.size)
    check_makes(pipe, "image", "upscale")
    whole = arguments(pipe, call, prompts)
    pipe = guided(pipe, whole)
    check_shown_as(pipe, whole)
    batches = plans(pipe, with_size(whole, (width, height)))
    seed = batches[0].request.seeds[0]

    def outputs() -> Iterator[Output]:
        if by == "pixels":
            large = picture.resize((width, height), Image.Resampling.LANCZOS)
            latents = pipe.encode(large, seed=seed)
        else:
            import torch

            size = pipe.composition.info.latents.shape({"width": width, "height": height})[-2:]
            small = pipe.encode(picture, seed=seed)
            latents = torch.nn.functional.interpolate(small, size=size, mode="bicubic")

        def made(plan: Plan) -> Output:
            many = latents.expand(len(plan.request.seeds), *latents.shape[1:])
            output = made_from(pipe, plan, many, strength, whole)
            titles = titles_of(plan.request, "upscaled")
            return finished(output, titles, f"from the picture's {by}, enlarged")

        yield from pipe.within_memory(batches, made)

    return outputs()
