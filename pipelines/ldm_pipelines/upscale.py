"""``ldm upscale``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from PIL import Image
from pydantic import Field

from ldm_core.errors import LdmError
from ldm_pipelines.parts import (
    Picture,
    channels_of,
    check_fits,
    check_share,
    finished,
    gather,
    open_picture,
    requests,
    walk_from,
)

if TYPE_CHECKING:
    from ldm_core.run.pipeline import Output, Pipeline


def upscale(
    pipe: Pipeline,
    image: Picture,
    *prompts: str,
    factor: Annotated[float, Field(gt=1)] = 2.0,
    by: Literal["latents", "pixels"] = "pixels",
    strength: float = 0.3,
    **run: Any,
) -> Output:
    """Make a larger picture: enlarge it, and make its details anew a part of the way.

    Args:
        image: The picture.
        prompts: What it shows.
        factor: How many times as wide and high it becomes, rounded to a size that the model takes.
        by: What is enlarged: the picture's latents (bicubic) or its pixels (Lanczos).
        strength: Share of the way from noise that is walked, 0 to 1.
    """
    check_share("strength", strength)
    if not factor > 1:
        raise LdmError(f"the factor should be more than 1, not {factor!r}.")
    picture = open_picture(image, channels_of(pipe))
    info = pipe.composition.info
    unit = info.scale_factor * info.patch
    width, height = (max(unit, round(side * factor / unit) * unit) for side in picture.size)
    if by == "latents":
        check_fits(pipe, picture.size)
    run = {**run, "width": width, "height": height}
    asked = list(requests(pipe, prompts, run))

    def parts() -> Any:
        import torch

        seed = asked[0].seeds[0]
        if by == "pixels":
            large = picture.resize((width, height), Image.Resampling.LANCZOS)
            latents = pipe.encode(large, seed=seed)
        else:
            size = info.latent_shape(width, height)[-2:]
            small = pipe.encode(picture, seed=seed)
            latents = torch.nn.functional.interpolate(small, size=size, mode="bicubic")
        for request in asked:
            count = len(request.seeds)
            x0 = walk_from(pipe, request, latents.expand(count, *latents.shape[1:]), strength)
            prompts = request.inputs.get("prompt") or ["upscaled"] * count
            titles = [str(prompt) for prompt in prompts]
            yield finished(pipe.output(x0, request), titles, f"from the picture's {by}, enlarged")

    return gather(parts(), run)
