"""A progress bar."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ldm_core.contracts import Grid, Step


@contextmanager
def progress_bar(grid: Grid) -> Iterator[Callable[[Step], None]]:
    """A bar on the standard error stream, a step for each interval of the grid.

    Where that stream is no terminal, nothing is shown.
    """
    if not _may_show():
        yield lambda step: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    shown = console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task("sampling", total=len(grid) - 1)
        yield lambda step: bar.update(task, completed=step.index + 1)


def _may_show() -> bool:
    """Whether rich may take the stream for a terminal; where not, it need not be imported."""
    terminal = sys.stderr is not None and sys.stderr.isatty()
    forced = {"FORCE_COLOR", "TTY_COMPATIBLE"} & os.environ.keys()
    return terminal or bool(forced) or "IPython" in sys.modules
