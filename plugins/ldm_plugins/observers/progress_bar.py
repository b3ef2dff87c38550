"""A progress bar."""

from __future__ import annotations

from typing import Any

from ldm_core.contracts import Run, RunObserver, Step, sees_reading, sees_run
from ldm_core.run.bars import may_show, new_bar, reading_bar


@sees_reading(reading_bar)
@sees_run
def progress_bar(run: Run) -> RunObserver:
    """A bar on the standard error stream, or in the notebook, over all that the call makes: a step
    of one picture is one of its own. Before, over the parts of the model whose weights are read.

    Where that stream is no terminal, nothing is shown.
    """
    return Bar(run) if may_show() else RunObserver()


class Bar(RunObserver):
    """The bar of a run, which begins where the call's runs before it ended."""

    def __init__(self, run: Run) -> None:
        request = run.request
        places, total = request.of_call, request.call_images
        self._each, self._many = len(run.grid) - 1, len(request.seeds)
        self._before = places[0] * self._each
        last = f"-{places[-1] + 1}" if self._many > 1 else ""
        words = f"{places[0] + 1}{last} of {total}" if total > 1 else None
        self._bar = new_bar(total * self._each, words, initial=self._before)

    def step(self, step: Step) -> None:
        self._bar.update(self._before + self._many * (step.index + 1) - self._bar.n)

    def finish(self, output: Any) -> None:
        self._bar.close()

    def fail(self, error: BaseException) -> None:
        self._bar.close()
