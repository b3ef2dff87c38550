"""The plugin module of a third party's package, which tests install."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field as Bounds

from ldm_core import hookimpl
from ldm_core.contracts import Scheduler

ldm_api = ">=2,<3"


def theirs(
    x: Any,
    grid: Any,
    denoise: Any,
    noise: Any,
    *,
    share: Annotated[float, Bounds(ge=0, le=1)] = 0.25,
    loud: bool = False,
) -> Any:
    """Theirs.

    Args:
        share: how much of it.
        loud: <img src=x onerror='window.hacked=1'> of it.
    """  # fmt: skip
    for here, there in pairwise(grid):
        x0 = denoise(x, here)
        x = there.alpha * x0 + there.sigma / here.sigma * (x - here.alpha * x0)
    return x


def every(
    x: Any,
    grid: Any,
    denoise: Any,
    noise: Any,
    *,
    flag: bool = False,
    count: Annotated[int, Bounds(ge=1, le=9)] = 2,
    share: float = 0.5,
    way: Literal["up", "down"] = "up",
    words: str = "none",
    file: Path | None = None,
    several: list[int] = [1],  # noqa: B006
    maybe: float | None = None,
    inner: Scheduler = "euler",  # type: ignore[assignment]
) -> Any:
    """One option of each type."""
    return theirs(x, grid, denoise, noise)


@hookimpl
def ldm_schedulers(register: Any) -> None:
    """Two."""
    register("theirs", theirs)
    register("every", every)
