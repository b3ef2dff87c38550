"""``ldm blend``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL import Image

from ldm_core.errors import LdmError
from ldm_pipelines.parts import (
    Picture,
    channels_of,
    check_share,
    finished,
    first_seed,
    gather,
    open_picture,
    requests,
    scaled,
    shown,
    walk_from,
)

if TYPE_CHECKING:
    from torch import Tensor

    from ldm_core.run.pipeline import Output, Pipeline


def blend(
    pipe: Pipeline,
    first: Picture,
    second: Picture,
    *prompts: str,
    weight: float = 0.5,
    mask: Picture | None = None,
    strength: float = 0.0,
    **run: Any,
) -> Output:
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
    sizes = []
    pictures = []
    for given in (first, second):
        picture, size = scaled(pipe, given, run)
        pictures.append(open_picture(picture, channels_of(pipe)))
        sizes.append(f"{size['width']}x{size['height']}")
    if sizes[0] != sizes[1]:
        raise LdmError(
            f"the pictures are {sizes[0]} and {sizes[1]} pixels; --size scales them to one size."
        )
    width, height = pictures[0].size
    painted = None if mask is None else open_picture(mask, 1, "mask")
    if painted is not None and painted.size != (width, height):
        raise LdmError(
            f"the mask is {painted.width}x{painted.height} pixels and the pictures {sizes[0]}."
        )
    run = {**run, "width": width, "height": height}
    asked = list(requests(pipe, prompts, run)) if strength > 0 else []
    seed = first_seed(run)
    ends = [pipe.encode(picture, seed=seed) for picture in pictures]
    mixed = ends[0] + (weight if painted is None else _share(painted, ends[0])) * (
        ends[1] - ends[0]
    )
    if painted is None and weight == 1:
        mixed = ends[1]
    title = "blend"
    if not asked:
        return shown(pipe, mixed, [title], "decoded from the mixture of two pictures", [seed])

    def parts() -> Any:
        for request in asked:
            count = len(request.seeds)
            x0 = walk_from(pipe, request, mixed.expand(count, *mixed.shape[1:]), strength)
            titles = [
                str((request.inputs.get("prompt") or [title] * count)[i]) for i in range(count)
            ]
            yield finished(pipe.output(x0, request), titles, "from the mixture of two pictures")

    return gather(parts(), run)


def _share(mask: Image.Image, like: Tensor) -> Tensor:
    """How much of each latent a mask covers, (1, 1, rows, columns)."""
    import numpy as np
    import torch

    painted = torch.from_numpy(np.asarray(mask, dtype=np.float32) / 255)[None, None]
    rows, columns = like.shape[-2:]
    return torch.nn.functional.adaptive_avg_pool2d(painted.to(like.device), (rows, columns))
