"""A progress bar."""

from __future__ import annotations

import os
import sys
from typing import Any

from ldm_core.contracts import Run, RunObserver, Step, sees_run


@sees_run
def progress_bar(run: Run) -> RunObserver:
    """A bar on the standard error stream, or in the notebook, over all that the call makes: a step
    of one picture is one of its own.

    Where that stream is no terminal, nothing is shown.
    """
    return Bar(run) if _may_show() else RunObserver()


class Bar(RunObserver):
    """The bar of a run, which begins where the call's runs before it ended."""

    def __init__(self, run: Run) -> None:
        from tqdm.auto import tqdm

        request = run.request
        places, total = request.of_call, request.call_images
        self._each, self._many = len(run.grid) - 1, len(request.seeds)
        self._before = places[0] * self._each
        last = f"-{places[-1] + 1}" if self._many > 1 else ""
        self._bar: Any = tqdm(
            desc=f"{places[0] + 1}{last} of {total}" if total > 1 else None,
            total=total * self._each,
            initial=self._before,
            leave=False,
            disable=False,
            dynamic_ncols=not (unknown := _is_of_no_size()),
            ncols=80 if unknown else None,
            nrows=24 if unknown else None,
            file=sys.stderr,
        )

    def step(self, step: Step) -> None:
        self._bar.update(self._before + self._many * (step.index + 1) - self._bar.n)

    def finish(self, output: Any) -> None:
        self._bar.close()

    def fail(self, error: BaseException) -> None:
        self._bar.close()


def _is_of_no_size() -> bool:
    """Whether the stream is a terminal that does not say how large it is; tqdm shows nothing
    there."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns == 0
    except (OSError, ValueError):  # none of the system's
        return False


def _may_show() -> bool:
    """Whether somebody sees it; where not, tqdm need not be imported."""
    terminal = sys.stderr is not None and sys.stderr.isatty()
    return terminal or "FORCE_COLOR" in os.environ or "IPython" in sys.modules
