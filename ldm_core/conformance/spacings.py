"""What a spacing must do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ldm_core.conformance.gaussian import SCHEDULES
from ldm_core.contracts import LatentShape, Spacing, as_spacing
from ldm_core.contracts.spacing import Choose, checked
from ldm_core.errors import LdmError
from ldm_core.numerics.noise_schedule import NoiseSchedule, vp_schedule

PATHS: Mapping[str, NoiseSchedule] = {
    **SCHEDULES,
    "vp scaled_linear": vp_schedule(),
    "vp squaredcos_cap_v2": vp_schedule("squaredcos_cap_v2"),
    "vp zero terminal SNR": vp_schedule(rescale_zero_snr=True),
}
"""Every kind of path that models are trained on; two start where the signal is zero."""
PICTURE = LatentShape(4, {"height": 64, "width": 64})
STRANGE = "an axis of another kind"


def check_spacing(
    spacing: Spacing | Choose,
    steps: Sequence[int] = (1, 2, 3, 7, 20, 50, 333, 1000),
    latent: LatentShape = PICTURE,
) -> None:
    """See that on every path the grid has the asked length, falls strictly and is finite, and that
    a spacing that depends on the latent's shape passes over no axis.

    A spacing may refuse a path or a number of steps by an `LdmError`.

    Args:
        latent: for a spacing that depends on it.
    Raises:
        AssertionError: a grid is malformed, or has another number of points than steps + 1; or an
            axis that the spacing cannot know changes nothing and is not refused.
    """
    spacing = as_spacing(spacing)
    for name, schedule in PATHS.items():
        for n in steps:
            try:
                grid = spacing.points(schedule, n, latent)
            except LdmError:
                continue
            try:
                points = checked(grid, schedule, "under test")
            except LdmError as error:
                raise AssertionError(f"on the {name} path with {n} steps: {error}") from None
            if len(points) != n + 1:
                raise AssertionError(
                    f"on the {name} path with {n} steps the grid has {len(points)} points, "
                    f"not {n + 1}"
                )
        _check_axes(spacing, schedule, latent)


def _check_axes(spacing: Spacing, schedule: NoiseSchedule, latent: LatentShape) -> None:
    larger = replace(latent, places={name: 2 * n for name, n in latent.places.items()})
    strange = replace(latent, places={**latent.places, STRANGE: 5})
    try:
        points = spacing.points(schedule, 5, latent)
        depends = points != spacing.points(schedule, 5, larger)
        if not depends or spacing.points(schedule, 5, strange) != points:
            return
    except LdmError:
        return
    raise AssertionError(
        "the spacing depends on how large the latent is, and passes over an axis that it does not "
        "know; it must refuse that"
    )
