"""Shifted time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from ldm_core.contracts import LatentShape, Spacing, sees_latent
from ldm_core.errors import LdmError
from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import CLEAN, Point
from ldm_plugins.shared.flow_lines import of_tokens_and_steps
from ldm_plugins.spacings.shared.flow_time import FlowTime
from ldm_plugins.spacings.shared.ratios import evenly

ShiftType = Literal["exponential", "linear"]
Growth = Literal["linear", "root"]
Curve = Literal["base", "karras", "exponential", "beta"]
RHO = 7.0  # Karras et al. 2022 (arXiv:2206.00364), Table 1
PATCHED = {"height", "width"}
SIZES = (PATCHED, {*PATCHED, "frames"})
"""Axes of the latents whose tokens can be counted: of a picture, and of a video."""
BETA = 0.6  # Lee et al. 2024 (arXiv:2407.12173), both parameters


@sees_latent
def flow_shift(
    schedule: NoiseSchedule,
    steps: int,
    latent: LatentShape | None = None,
    *,
    shift: float | None = None,
    dynamic: bool = False,
    base_shift: float = 0.5,
    max_shift: float = 1.15,
    base_seq_len: int = 256,
    max_seq_len: int = 4096,
    patch: int = 2,
    of_steps: bool = False,
    shift_type: ShiftType = "exponential",
    terminal: float | None = None,
    curve: Curve = "base",
    base: Spacing | None = None,
    most: Annotated[float, Field(gt=0, le=1)] = 1.0,
    whole_timesteps: bool = False,
    growth: Growth = "linear",
    whole_base: bool = False,
) -> Sequence[Point]:
    """Another spacing with its sigma/alpha multiplied, so that large pictures get more steps at
    high noise (Esser et al. 2024, arXiv:2403.03206, Eq. 23).

    Where the training has a greatest sigma/alpha (VP, VE), the factor falls to 1 towards it, so
    that the run still starts there and the network sees no more noise than it was trained on.

    Args:
        shift: the factor, 1 where neither it nor `dynamic` is given.
        dynamic: take the factor from the size of the picture, or of all frames of a video: a
            straight line goes through `base_shift` at `base_seq_len` patches and `max_shift` at
            `max_seq_len`. For models of pictures and videos alone.
        base_shift: what the line gives for the small size.
        max_shift: what the line gives for the large size.
        base_seq_len: patches of the small size.
        max_seq_len: patches of the large size.
        patch: side of a patch in latent pixels.
        of_steps: with `dynamic`, take the factor from the number of steps too, as FLUX.2 does; no
            straight line is then read.
        shift_type: the factor is e to what the line gives ("exponential"), or that ("linear").
        terminal: stretch the shifted flow times, sigma/(alpha + sigma), so that the last before
            the end is this one.
        curve: other than "base", only the first and last of the shifted flow times are kept, and
            those between lie evenly in the 7th root ("karras"), in the logarithm ("exponential")
            or in the quantiles of Beta(0.6, 0.6) ("beta").
        base: the spacing that is shifted. Where none is given, flow times lie evenly from 1 to
            the least of the training, already shifted once by `shift`, as in Stable Diffusion 3.
        most: no flow time is more; just below 1 the log-SNR is finite, as multistep methods need it
            that are to make more of the first step than Euler's.
        whole_timesteps: cut what the network is told off to a whole timestep, while the noise stays
            exact, as Diffusers' DPM-Solver, UniPC, DEIS and SA-Solver classes do.
        growth: other than "linear", what `dynamic` takes the factor from grows with the square root
            of the patches: `base_shift`, and `max_shift` times the root of how often they are
            `base_seq_len` ("root"), as in CogView 4.
        whole_base: cut the times that are shifted off to whole timesteps of the training; for even
            times, without a `base`.
    """
    if dynamic and shift is not None:
        raise LdmError(
            "while dynamic is true, flow_shift takes its shift from the size of the picture; "
            "leave shift out, or set dynamic to false."
        )
    if terminal is not None and not 0 < terminal < 1:
        raise LdmError(f"the terminal of flow_shift must lie between 0 and 1, not {terminal:g}.")
    if whole_base and base is not None:
        raise LdmError("whole_base of flow_shift is for even times; leave base or whole_base out.")
    factor = 1.0 if shift is None else shift
    if dynamic:
        patches = _patches(latent, patch)
        if of_steps:
            value = of_tokens_and_steps(patches, steps)
        elif growth == "root":
            value = base_shift + max_shift * math.sqrt(patches / base_seq_len)
        else:
            value = _on_line(((base_seq_len, base_shift), (max_seq_len, max_shift)), patches)
        factor = math.exp(min(value, 700.0)) if shift_type == "exponential" else value
    if of_steps and not dynamic:
        raise LdmError("of_steps of flow_shift says what dynamic does; set dynamic to true.")
    if not 0 < factor < math.inf:
        raise LdmError(f"the shift of flow_shift must be positive, not {factor:g}.")
    path = FlowTime(schedule)

    def shifted(s: float) -> float:
        return factor * s / (factor * s + (1 - s))

    if base is None:
        least = path.of(schedule.at(schedule.first))
        points: Sequence[Point] = [CLEAN]
        times = evenly(1.0, least if dynamic else shifted(least), steps, "zero")
    else:
        points = base.points(schedule, steps, latent)
        times = [path.of(point) for point in points if point.sigma > 0]
    if whole_base:
        times = _whole(times, schedule.last)
    times = [shifted(s) for s in times]
    if terminal is not None and times[-1] < 1:
        stretch = (1 - terminal) / (1 - times[-1])
        times = [1 - (1 - s) * stretch for s in times]
    if curve != "base":
        times = _redrawn(times, curve)
    shifted_points = [path.at(min(s, most)) for s in times]
    if whole_timesteps:
        shifted_points = [replace(point, t=float(int(point.t))) for point in shifted_points]
    return [*shifted_points, *(point for point in points if point.sigma == 0)]


def _on_line(line: tuple[tuple[int, float], tuple[int, float]], patches: int) -> float:
    (few, low), (many, high) = line
    if few == many:
        raise LdmError("base_seq_len and max_seq_len of flow_shift must differ.")
    return low + (patches - few) * (high - low) / (many - few)


def _patches(latent: LatentShape | None, patch: int) -> int:
    """How many patches a picture, or each frame of a video, is cut into, all together."""
    if latent is None:
        raise LdmError("flow_shift needs the size of the picture while dynamic is true.")
    if patch < 1:
        raise LdmError(f"the patch of flow_shift must be at least 1, not {patch}.")
    if {*latent.places} not in SIZES:
        raise LdmError(
            "flow_shift takes its shift from the height and width of a picture or a video while "
            f"dynamic is true, and this model's latents have {', '.join(latent.places)}; set "
            "dynamic to false and choose a shift."
        )
    return math.prod(
        places // patch if name in PATCHED else places for name, places in latent.places.items()
    )


def _whole(times: Sequence[float], last: float) -> list[float]:
    """Even times cut off to whole timesteps, in the arithmetic of the library that CogView 4 was
    trained with: a whole timestep may there be a hair less."""
    import numpy as np

    steps = np.linspace(times[0] * last, times[-1] * last, len(times))
    return [int(step) / last for step in steps]


def _redrawn(times: Sequence[float], curve: Curve) -> list[float]:
    high, low, count = times[0], times[-1], len(times)
    if curve == "karras":
        return [u**RHO for u in evenly(high ** (1 / RHO), low ** (1 / RHO), count, "zero")]
    if curve == "exponential":
        return [math.exp(u) for u in evenly(math.log(high), math.log(low), count, "zero")]
    from scipy.special import betaincinv

    quantiles = evenly(1.0, 0.0, count, "zero")
    return [low + float(betaincinv(BETA, BETA, u)) * (high - low) for u in quantiles]
