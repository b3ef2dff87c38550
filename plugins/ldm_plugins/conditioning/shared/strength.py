"""How much of the way from noise is walked, for runs that start from a picture."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from ldm_core.contracts import Grid, Input, Noise, Request, Run, RunHooks
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.numerics.point import Point
from ldm_core.numerics.strength import cut, steps_before, steps_of
from ldm_core.values import brief, is_number

if TYPE_CHECKING:
    from torch import Tensor

DENOISING_START = Input(
    float | None,
    None,
    each=False,
    help="share of the way that is done already, from 0 to 1, in place of strength: no noise is "
    "added",
)
"""The input ``denoising_start``, one for all images of a run."""
FAINT = 1e-5
"""A share of the picture that is less than a step of its colours."""
MADE = {"samples": "sound", "frames": "video"}
"""What a run starts from, by an axis of it; else it is a picture."""


def strength(default: float) -> Input:
    """The input ``strength``, one for all images of a run, which walk the same points."""
    return Input(
        float,
        default,
        each=False,
        help="share of the way that is walked, from 0 for the picture as it is to 1 for all of it",
    )


def check_strength(request: Request, flow: bool, default: float | None = None) -> None:
    """Raise `LdmError` for a strength outside [0, 1], several of them, or less than one step.

    Args:
        default: of the strength, where ``denoising_start`` may stand in its place.
    """
    values = request.inputs["strength"]
    starts = [] if default is None else request.inputs["denoising_start"]
    for start in starts:
        if start is not None and not (is_number(start) and 0 <= start < 1):
            raise LdmError(
                f"the denoising_start should be a number from 0 to below 1, not {brief(start)}."
            )
    if any(start is not None for start in starts):
        if any(value != default for value in values):
            raise LdmError(
                "a strength and a denoising_start both say where to begin; give one of the two."
            )
        return
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
    """The first x of a run from a picture, video or sound: with the noise of its first point, or,
    where no step is asked for, as it is. It is said where that point is noise alone."""
    share, first = run.request.inputs["strength"][0], run.grid[0]
    if 0 < share < 1 and first.alpha < FAINT:
        steps = run.request.num_inference_steps
        less = f"at most {1 - 1 / steps:g} does, or more steps" if steps > 1 else "take more steps"
        axes = run.model.info.latents.names
        what = next((MADE[name] for name in axes if name in MADE), "picture")
        warnings.warn(
            f"a strength of {share:g} is all {steps} steps of this model, whose first point is "
            f"noise alone: what is drawn has nothing of the {what}. To begin from it, {less}.",
            LdmWarning,
            stacklevel=2,
        )
    return x0 if share == 0 else add_noise(x0, noise(), first)


def left_of(grid: Grid, request: Request) -> Grid:
    """The end of a grid that ``denoising_start`` leaves, or else ``strength``.

    Raises:
        LdmError: no step is left.
    """
    start = request.inputs["denoising_start"][0]
    if start is None:
        return cut(grid, request.num_inference_steps, request.inputs["strength"][0])
    done = steps_before(grid, start)
    if done >= len(grid) - 1:
        raise LdmError(
            f"a denoising_start of {start:g} leaves none of the {request.num_inference_steps} "
            "steps; begin earlier, or take more of them."
        )
    return grid[done:]


class FromLatents(RunHooks):
    """A start from latents, with the noise of the grid's first point or, where ``denoising_start``
    says that they are part of the way, with none.

    Args:
        x0: gives them, (batch, channels, ...).
    """

    def __init__(self, run: Run, x0: Callable[[], Tensor]) -> None:
        self._run = run
        self._x0 = x0

    def start(self) -> Tensor:
        run, x0 = self._run, self._x0()
        if run.request.inputs["denoising_start"][0] is None:
            return noised(run, x0, run.noise)
        return x0 * run.grid[0].alpha


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
