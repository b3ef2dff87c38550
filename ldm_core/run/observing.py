"""Who is told of a run: of each evaluation while it is walked, and of what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Observer, Run, RunObserver, Step
from ldm_core.errors import PartError, PluginError, add_note, with_class
from ldm_core.machine import asked_to_stop
from ldm_core.plugins.blame import is_of_others
from ldm_core.plugins.owners import Owners
from ldm_core.run.watching import BEGINNING, ENDING, Watching, blaming

if TYPE_CHECKING:
    from torch import Tensor

    from ldm_core.run.finite import Finiteness
    from ldm_core.run.output import Output

Tell = Callable[[Step], None]


class Audience:
    """The observers that see one run, made when its first walk begins, and told of its end once."""

    def __init__(self) -> None:
        self._observers: dict[int, tuple[Observer, RunObserver]] = {}
        self._owners = Owners()
        self._ended = False

    def tellers(
        self, observers: Sequence[Observer], run: Run, walk: ExitStack, owners: Owners
    ) -> list[Tell]:
        """What is told of each evaluation in a walk of a run, in the order of the observers.

        Args:
            walk: open as long as the walk.
            owners: whose each of them is.
        """
        self._owners = owners
        tellers: list[Tell] = []
        for place, observer in enumerate(observers):
            if not observer.sees_run:
                tellers.append(walk.enter_context(Watching(observer, run.grid, owners)))
                continue
            if place not in self._observers:
                with owners.blamed(observer, BEGINNING):
                    self._observers[place] = observer, observer.of_run(seen(run, observer))
            tell = self._observers[place][1].step
            tellers.append(blaming(tell, observer, run.grid, owners))
        return tellers

    def finish(self, output: Output) -> None:
        """Tell them of the pictures."""
        if not self._ended:
            self._ended = True
            for observer, of_run in self._observers.values():
                told = output.copied() if is_of_others(self._owners.of(observer)) else output
                with self._owners.blamed(observer, ENDING):
                    of_run.finish(told)

    def fail(self, error: BaseException) -> None:
        """Tell them that there are none; what they raise at that is noted beside the error."""
        if not self._ended:
            self._ended = True
            for observer, of_run in self._observers.values():
                try:
                    of_run.fail(error)
                except BaseException as other:  # even an end of the program
                    if asked_to_stop(other):
                        raise
                    whose = self._owners.called(observer, f"{type(of_run).__name__}, an observer,")
                    add_note(error, f"{whose} failed when it was told: {with_class(other)}")


def seen(run: Run, observer: Observer) -> Run:
    """A run as an observer sees it, which draws nothing from its seeds and changes none: that would
    change the pictures."""

    def drawn(*args: Any) -> Tensor:
        raise PartError(
            observer,
            "an observer asked for noise of the run that it sees, which would change its pictures.",
        )

    inputs = {name: tuple(values) for name, values in run.request.inputs.items()}
    request = replace(run.request, seeds=tuple(run.request.seeds), inputs=inputs)
    return replace(run, request=request, noise=drawn, to_latents=drawn)


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
    """An output, of which the observers of its runs are told.

    Raises:
        PluginError: another package's observer fails; it holds the output.
    """
    try:
        for walk in walks:
            walk.audience.finish(output)
    except PluginError as error:
        error.output = output
        raise
    return output
