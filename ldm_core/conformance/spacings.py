"""What a spacing must do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ldm_core.conformance.gaussian import SCHEDULES
from ldm_core.contracts import Spacing
from ldm_core.errors import LdmError
from ldm_core.numerics.grid import checked
from ldm_core.numerics.noise_schedule import NoiseSchedule, vp_schedule

PATHS: Mapping[str, NoiseSchedule] = {
    **SCHEDULES,
    "vp scaled_linear": vp_schedule(),
    "vp squaredcos_cap_v2": vp_schedule("squaredcos_cap_v2"),
    "vp zero terminal SNR": vp_schedule(rescale_zero_snr=True),
}
"""Every kind of path that models are trained on; two start where the signal is zero."""
LATENT_SHAPE = (4, 64, 64)


def check_spacing(spacing: Spacing, steps: Sequence[int] = (1, 2, 3, 7, 20, 50, 333, 1000)) -> None:
    """See that on every path the grid has the asked length, falls strictly and is finite.

    A spacing may refuse a path or a number of steps by an `LdmError`.

    Raises:
        AssertionError: a grid is malformed, or has another number of points than steps + 1.
    """
    sees = getattr(spacing, "sees_latent_shape", False)
    more: dict[str, Any] = {"latent_shape": LATENT_SHAPE} if sees else {}
    for name, schedule in PATHS.items():
        for n in steps:
            try:
                grid = spacing(schedule, n, **more)
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
