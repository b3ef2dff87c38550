"""``ldm blend``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from PIL import Image

from ldm_core.errors import LdmError
from ldm_core.run.in_batches import in_batches
from ldm_pipelines.parts import (
    Picture,
    arguments,
    channels_of,
    check_share,
    check_shown_as,
    finished,
    first_seed,
    guided,
    made_from,
    open_mask,
    open_picture,
    plans,
    scaled,
    shown,
    titles_of,
    with_size,
)
from ldm_pipelines.timed import check_makes

if TYPE_CHECKING:
    from torch import Tensor

    from ldm_core.contracts import Plan
    from ldm_core.run.output import Output
    from ldm_core.run.pipeline import Pipeline


@in_batches
def blend(
    pipe: Pipeline,
    first: Picture,
    second: Picture,
    *prompts: str,
    weight: float = 0.5,
    mask: Picture | None = None,
    strength: float = 0.0,
    **call: Any,
) -> Iterator[Output]:
    """Mix the latents of two pictures.

    Args:
        first: A picture.
        second: Another one of the same size.
        prompts: What the mixtures should show, where they are made anew by --strength.
        weight: Share of the second picture, 0 to 1.
        mask: In place of a weight, a picture of the same size: white where the second is to be.
        strength: Share of the way from noise that is walked after mixing, 0 to 1; 0 decodes the
            mixture as it is.
    """
    check_share("weight", weight)
    check_share("strength", strength)
    check_makes(pipe, "image", "blend")
    whole = arguments(pipe, call, prompts)
    pipe = guided(pipe, whole)
    pipe.composition.check_names(whole.inputs)
    check_shown_as(pipe, whole)
    sizes = []
    pictures = []
    for source in (first, second):
        picture, size = scaled(pipe, source, whole)
        pictures.append(open_picture(picture, channels_of(pipe)))
        sizes.append(f"{size[0]}x{size[1]}")
    if sizes[0] != sizes[1]:
        raise LdmError(
            f"the pictures are {sizes[0]} and {sizes[1]} pixels; --size scales them to one size."
        )
    width, height = pictures[0].size
    painted = None if mask is None else open_mask(mask)
    if painted is not None and painted.size != (width, height):
        raise LdmError(
            f"the mask is {painted.width}x{painted.height} pixels and the pictures {sizes[0]}."
        )
    batches = plans(pipe, with_size(whole, (width, height))) if strength > 0 else []
    seed = first_seed(whole)

    def outputs() -> Iterator[Output]:
        ends = [pipe.encode(picture, seed=seed) for picture in pictures]
        mixed = ends[0] + (weight if painted is None else _share(painted, ends[0])) * (
            ends[1] - ends[0]
        )
        if painted is None and weight == 1:
            mixed = ends[1]
        if not batches:
            yield shown(
                pipe,
                mixed,
                ["blend"],
                "decoded from the mixture of two pictures",
                [seed],
                whole.output_type,
            )

        def made(plan: Plan) -> Output:
            many = mixed.expand(len(plan.request.seeds), *mixed.shape[1:])
            output = made_from(pipe, plan, many, strength, whole)
            titles = titles_of(plan.request, "blend")
            return finished(output, titles, "from the mixture of two pictures")

        yield from pipe.within_memory(batches, made)

    return outputs()


def _share(mask: Image.Image, like: Tensor) -> Tensor:
    """How much of each latent a mask covers, (1, 1, rows, columns)."""
    import numpy as np
    import torch

    painted = torch.from_numpy(np.asarray(mask, dtype=np.float32) / 255)[None, None]
    rows, columns = like.shape[-2:]
    return torch.nn.functional.adaptive_avg_pool2d(painted.to(like.device), (rows, columns))
