"""What schedulers around other schedulers share."""

from __future__ import annotations

from ldm_core.contracts import Scheduler, starts_with
from ldm_core.errors import LdmError


def walks_any_grid(inner: Scheduler, owner: str) -> None:
    """Raise `LdmError` for a scheduler that only walks points of its own."""
    if hasattr(inner, "own_grid"):
        raise LdmError(
            f"'{owner}' walks parts of a grid, and the scheduler inside it only walks points of "
            "its own.",
            "`ldm plugins list --kind scheduler` shows the others.",
        )


def like(inner: Scheduler, outer: Scheduler, owner: str) -> Scheduler:
    """The outer scheduler, marked to start as the inner one does.

    Raises:
        LdmError: the inner one only walks points of its own.
    """
    walks_any_grid(inner, owner)
    rule = getattr(inner, "initial_scale", None)
    return outer if rule is None else starts_with(rule)(outer)
