"""How much of the way from noise a strength leaves, for runs that start from a picture."""

from __future__ import annotations

from ldm_core.numerics.grid import Grid
from ldm_core.numerics.noise_schedule import FlowSchedule, NoiseSchedule


def on_flow(schedule: NoiseSchedule) -> bool:
    """Whether a schedule is a rectified flow."""
    return isinstance(schedule, FlowSchedule)


def steps_of(steps: int, strength: float, flow: bool) -> int:
    """How many of the steps are walked.

    On a rectified flow Diffusers' pipelines round up; those of all other models round down.

    Args:
        strength: share of the way, 0 to 1.
        flow: the model is one of rectified flow.
    """
    share = min(steps * strength, steps)
    return steps - int(steps - share) if flow else int(share)


def cut(grid: Grid, steps: int, strength: float) -> Grid:
    """The end of a grid that a strength leaves, which may be the last point alone.

    What is left out is counted in the steps that were asked for: a grid has one fewer where its
    last step would lead from a point to itself, as in Diffusers, whose pipelines count it.

    Args:
        steps: that were asked for.
        strength: share of the way, 0 to 1.
    """
    walked = steps_of(steps, strength, on_flow(grid.schedule))
    return grid[min(steps - walked, len(grid) - 1) :]


def steps_before(grid: Grid, share: float) -> int:
    """How many steps of a grid begin before a share of the training timesteps is done."""
    schedule = grid.schedule
    cutoff = (1 - share) * (schedule.last - schedule.first + 1)
    if schedule.discrete:
        cutoff = round(cutoff)
    return sum(1 for point in grid[:-1] if point.t > cutoff - 1e-6)
