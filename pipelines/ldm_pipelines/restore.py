"""``ldm restore``."""

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
    check_shown_as,
    finished,
    guided,
    made_from,
    open_picture,
    plans,
    scaled,
    titles_of,
    unguided,
    with_size,
)
from ldm_pipelines.timed import check_makes

if TYPE_CHECKING:
    from torch import Tensor

    from ldm_core.contracts import Grid, Plan
    from ldm_core.run.output import Output
    from ldm_core.run.pipeline import Pipeline


MOST_NOISE = 255
"""Of pixels from 0 to 255: more than that leaves nothing of a picture."""


@in_batches
def restore(
    pipe: Pipeline,
    image: Picture,
    *prompts: str,
    noise: float | None = None,
    strength: float | None = None,
    **call: Any,
) -> Iterator[Output]:
    """Take the noise out of a damaged picture: start where the noise that is drawn outweighs its
    own (Meng et al. 2021, arXiv:2108.01073, Section 3).

    It is without guidance, which leads away from what the picture was, unless one is chosen.

    Args:
        image: The picture; it is scaled to --size where that is given.
        prompts: What it shows.
        noise: Standard deviation of its noise, of pixels from 0 to 255; estimated where left out.
        strength: In place of a noise, the share of the way from noise that is walked, 0 to 1.
    """
    if noise is not None and strength is not None:
        raise LdmError("a --noise and a --strength both say where to start; leave one out.")
    if noise is not None and not 0 <= noise <= MOST_NOISE:
        most = f", and at most {MOST_NOISE}" if noise > MOST_NOISE else ""
        raise LdmError(f"the noise should be a standard deviation from 0 on{most}, not {noise!r}.")
    if strength is not None and not 0 <= strength <= 1:
        raise LdmError(f"the strength should be a number from 0 to 1, not {strength!r}.")
    check_makes(pipe, "image", "restore")
    whole = arguments(pipe, call, prompts)
    picture, size = scaled(pipe, image, whole)
    damaged = open_picture(picture, channels_of(pipe))
    level = estimate_noise(damaged) if noise is None else noise
    if "guidance" not in pipe.composition.chosen and whole.guidance_scale is None:
        pipe = unguided(pipe)
    pipe = guided(pipe, whole)
    check_shown_as(pipe, whole)
    batches = plans(pipe, with_size(whole, size))

    def outputs() -> Iterator[Output]:
        x0 = pipe.encode(damaged, seed=batches[0].request.seeds[0])

        def made(plan: Plan) -> Output:
            share = strength
            if share is None:
                share = strength_for(plan.grid, _in_latents(pipe, damaged, level, x0))
            many = x0.expand(len(plan.request.seeds), *x0.shape[1:])
            output = made_from(pipe, plan, many, share, whole)
            how = f"restored from noise {level:.1f} of 255, strength {share:.2f}"
            return finished(output, titles_of(plan.request, "restored"), how)

        yield from pipe.within_memory(batches, made)

    return outputs()


def estimate_noise(image: Image.Image) -> float:
    """Standard deviation of a picture's white noise, of pixels from 0 to 255 (Immerkær 1996,
    Fast noise variance estimation, Eq. 3), by the median in place of the mean.

    The median of the second difference in both directions passes over edges, which are few.
    """
    import numpy as np

    pixels = np.asarray(image, dtype=np.float64).reshape(image.height, image.width, -1)
    rows = pixels[:-2] - 2 * pixels[1:-1] + pixels[2:]
    both = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    # the kernel's weights squared sum to 36; 0.6745 is the median of |z| for a unit Gaussian
    return float(np.median(np.abs(both))) / 0.6745 / 6


def _in_latents(pipe: Pipeline, image: Image.Image, level: float, x0: Tensor) -> float:
    """What noise of this level in the picture is in its latents: the root mean square by which
    they change when as much is added again."""
    import numpy as np
    import torch

    if level == 0:
        return 0.0
    pixels = torch.from_numpy(np.asarray(image, dtype=np.float32).copy() / 255)
    pixels = pixels.reshape(image.height, image.width, -1).permute(2, 0, 1)[None]
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(pixels.shape, generator=generator) * level / 255
    changed = pipe.encode((pixels + noise).clamp(0, 1)) - pipe.encode(pixels)
    return float(changed.square().mean().sqrt())


def strength_for(grid: Grid, level: float) -> float:
    """The share of the grid that is walked from where its noise is at least this level, in units
    of the clean latents."""
    steps = len(grid) - 1
    behind = sum(1 for point in grid[:-1] if point.ratio >= level)
    return (steps - max(behind - 1, 0)) / steps if level > 0 else 0.0
