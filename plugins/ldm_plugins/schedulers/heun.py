"""Heun."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from ldm_core.contracts import Denoise, Grid, Noise, of_order, starts_with
from ldm_core.errors import LdmError
from ldm_core.numerics.moves import move
from ldm_core.numerics.sums import weighted_sum
from ldm_plugins.schedulers.shared.start import karras_start

if TYPE_CHECKING:
    from torch import Tensor


TOLERANCE = 1e-6


@starts_with(karras_start)
@of_order(2)
def heun(
    x: Tensor,
    grid: Grid,
    denoise: Denoise,
    noise: Noise,
    *,
    over: Literal["ratio", "sigma"] = "ratio",
) -> Tensor:
    """Heun's second-order method (Karras et al. 2022, arXiv:2206.00364, Alg. 1 with gamma = 0).

    The trapezoid rule, written as a correction of Euler's step that needs no division by alpha.
    Where it has no finite end Euler's step stands: arriving at no noise, and over the ratio leaving
    pure noise (alpha = 0). Two evaluations a step.

    Args:
        over: what the slope is taken over: "ratio" is sigma/alpha, as in the paper; "sigma" is the
            time of a rectified flow, as in Diffusers' class for flows, and for these alone.
    Raises:
        LdmError: the slope is to be taken over a flow's time, and the path is none.
    """
    if over == "sigma" and any(abs(point.alpha + point.sigma - 1) > TOLERANCE for point in grid):
        raise LdmError(
            "heun takes its slope over sigma on a rectified flow alone; this model's path is none.",
            'over = "ratio", the default, is for every path.',
        )
    for here, there in pairwise(grid):
        x0 = denoise(x, here)
        x = move(x, x0, here, there)
        if there.sigma == 0:
            continue
        if over == "sigma":
            weight = (here.sigma / there.sigma - 1) / 2
        elif here.alpha > 0:
            weight = there.alpha * (here.ratio / there.ratio - 1) / 2
        else:
            continue
        x = weighted_sum((1.0, x), (weight, denoise(x, there)), (-weight, x0))
    return x
