"""How much of the way from noise is walked, for runs that start from a picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ldm_core.contracts import Input, Noise, Request, Run, RunHooks
from ldm_core.errors import LdmError
from ldm_core.numerics.point import Point
from ldm_core.numerics.strength import steps_of
from ldm_core.values import brief, is_number

if TYPE_CHECKING:
    from torch import Tensor


def strength(default: float) -> Input:
    """The input ``strength``, one for all images of a run, which walk the same points."""
    return Input(
        float,
        default,
        each=False,
        help="share of the way that is walked, from 0 for the picture as it is to 1 for all of it",
    )


def check_strength(request: Request, flow: bool) -> None:
    """Raise `LdmError` for a strength outside [0, 1], several of them, or less than one step."""
    values = request.inputs["strength"]
    for value in values:
        if not is_number(value) or not 0 <= value <= 1:
            raise LdmError(f"the strength should be a number from 0 to 1, not {brief(value)}.")
    if len(set(values)) > 1:
        several = ", ".join(f"{value:g}" for value in sorted(set(values)))
        raise LdmError(
            f"the strength should be the same for all images of a run, not {several}; they walk "
            "the same points."
        )
    steps = request.num_inference_steps
    if values[0] > 0 and steps_of(steps, values[0], flow) == 0:
        raise LdmError(
            f"a strength of {values[0]:g} is less than one of the {steps} steps; at least "
            f"{math.ceil(1000 / steps) / 1000:g} is, or more steps, or 0 for none at all."
        )


def add_noise(x0: Tensor, noise: Tensor, point: Point) -> Tensor:
    """x at a point (Ho et al. 2020, arXiv:2006.11239, Eq. 4), all (batch, ...)."""
    return point.alpha * x0 + point.sigma * noise


def noised(run: Run, x0: Tensor, noise: Noise) -> Tensor:
    """The first x of a run from a picture: with the noise of its first point, or, where no step is
    asked for, the picture."""
    still = run.request.inputs["strength"][0] == 0
    return x0 if still else add_noise(x0, noise(), run.grid[0])


class FromPicture(RunHooks):
    """A start from pictures, with the noise of the grid's first point.

    Args:
        pictures: (batch, channels, height, width) in [-1, 1].
    """

    def __init__(self, run: Run, pictures: Tensor) -> None:
        self._run = run
        self._pictures = pictures

    def start(self) -> Tensor:
        return noised(self._run, self._run.to_latents(self._pictures), self._run.noise)
