"""A progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ldm_core.contracts import Grid, Step


@contextmanager
def progress_bar(grid: Grid) -> Iterator[Callable[[Step], None]]:
    """A bar on the standard error stream, a step for each interval of the grid.

    Where that stream is no terminal, nothing is shown.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    shown = console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task("sampling", total=len(grid) - 1)
        yield lambda step: bar.update(task, completed=step.index + 1)
