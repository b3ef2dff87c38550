"""Who is told of a run: of each evaluation while it is walked, and of what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Observer, Run, RunObserver, Step
from ldm_core.errors import LdmError

if TYPE_CHECKING:
    from torch import Tensor

    from ldm_core.run.finite import Finiteness
    from ldm_core.run.output import Output

Tell = Callable[[Step], None]


class Audience:
    """The observers that see one run, made when its first walk begins, and told of its end once."""

    def __init__(self) -> None:
        self._observers: dict[int, RunObserver] = {}
        self._ended = False

    def tellers(self, observers: Sequence[Observer], run: Run, walk: ExitStack) -> list[Tell]:
        """What is told of each evaluation in a walk of a run, in the order of the observers.

        Args:
            walk: open as long as the walk.
        """
        tellers: list[Tell] = []
        for place, observer in enumerate(observers):
            if not observer.sees_run:
                tellers.append(walk.enter_context(observer.of_walk(run.grid)))
                continue
            if place not in self._observers:
                self._observers[place] = observer.of_run(seen(run))
            tellers.append(self._observers[place].step)
        return tellers

    def finish(self, output: Output) -> None:
        """Tell them of the pictures."""
        if not self._ended:
            self._ended = True
            for observer in self._observers.values():
                observer.finish(output)

    def fail(self, error: BaseException) -> None:
        """Tell them that there are none; what they raise at that is noted beside the error."""
        if not self._ended:
            self._ended = True
            for observer in self._observers.values():
                try:
                    observer.fail(error)
                except Exception as other:
                    error.add_note(
                        f"{type(observer).__name__}, an observer, failed when it was told: "
                        f"{type(other).__name__}: {other}"
                    )


def seen(run: Run) -> Run:
    """A run as an observer sees it, which draws nothing from its seeds: that would change the
    pictures."""

    def drawn(*args: Any) -> Tensor:
        raise LdmError(
            "an observer asked for noise of the run that it sees, which would change its pictures."
        )

    return replace(run, noise=drawn, to_latents=drawn)


@contextmanager
def failing(walks: Sequence[Finiteness]) -> Iterator[None]:
    """See that observers of runs are told where it ends by an error.

    Args:
        walks: what is heard of the runs, which may grow meanwhile.
    """
    try:
        yield
    except BaseException as error:
        for walk in walks:
            walk.audience.fail(error)
        raise


def finished(walks: Sequence[Finiteness], output: Output) -> Output:
    """An output, of which the observers of its runs are told."""
    for walk in walks:
        walk.audience.finish(output)
    return output
