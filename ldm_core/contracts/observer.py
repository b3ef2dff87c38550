"""Observers: hear of runs, of each evaluation of the denoiser, and of what is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

from ldm_core.contracts.place import PartInfo
from ldm_core.contracts.record import Marked, Record, as_record, check_takes, with_trait
from ldm_core.contracts.run import Run, Step
from ldm_core.errors import PartError
from ldm_core.numerics.grid import Grid
from ldm_core.values import brief

Tell = Callable[[Step], None]
Watch = Callable[..., "AbstractContextManager[Tell] | RunObserver"]
"""``with watch(grid) as tell: tell(step)``, open for the length of one walk; of one that sees the
run, ``watch(run)``, a `RunObserver`."""


TellPart = Callable[[PartInfo], None]
"""``tell(part)``: the reading of a part of the model begins."""
Reading = Callable[[Sequence[PartInfo]], AbstractContextManager[TellPart]]
"""``with reading(parts) as tell: tell(part)``, open while a model's weights are read; ``parts`` are
those that have some, and none where the family does not say."""


class Finished(Protocol):
    """What an observer is told of the pictures that came of a run, see `ldm_core.run.output`."""

    @property
    def images(self) -> Any:
        """A list of PIL images, or an array or tensor, by the call's ``output_type``: those that
        are finite."""
        ...

    @property
    def seeds(self) -> Sequence[int]:
        """One for each image."""
        ...

    @property
    def manifests(self) -> Sequence[Mapping[str, Any]]:
        """One for each image."""
        ...

    @property
    def indices(self) -> Sequence[int]:
        """The place of each image among those of the run, some of which may not be finite."""
        ...


class RunObserver:
    """What hears of one run; by itself it does nothing. Others override what they hear of.

    It is made by an observer that `sees_run`, for each run anew, when its walk begins: a call of a
    pipeline has a run for each batch of images, two runs of one pipeline may be under way in two
    threads, and a batch that memory does not suffice for is run again in halves. So what it keeps
    belongs to one run. After `step` for each evaluation comes `finish` or `fail`, once.

    It is called where the images are computed, and they wait for it; it must leave the tensors
    that it is shown as they are.

    Example::

        @sees_run
        def previews(run, *, every: int = 5):
            return Previews(run, every)

        class Previews(RunObserver):
            def __init__(self, run, every):
                self.run, self.every = run, every

            def step(self, step):
                if step.index % self.every == 0:
                    pixels = self.run.decode(step.x0).data  # (batch, channels, height, width)

            def finish(self, output):
                print("drawn:", output.seeds)
    """

    def step(self, step: Step) -> None:
        """An evaluation of the denoiser is made."""

    def finish(self, output: Finished) -> None:
        """The pictures of the run are made. Of a chain each of its runs hears of them. Not called
        in a run whose latents nobody decodes by a call."""

    def fail(self, error: BaseException) -> None:
        """The run or the decoding ends without pictures, by an error or an interrupt."""


@dataclass(frozen=True, eq=False)
class Observer(Record):
    """Who hears of each step. A plain function becomes one by `as_observer`.

    Attributes:
        sees_run: it is given the `Run` in place of its grid, and gives a `RunObserver`.
        reading: hears of the weights that are read before the first run; None of most.
    """

    takes: ClassVar[tuple[str, ...]] = ("grid",)

    watch: Watch
    sees_run: bool = False
    reading: Reading | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reading is not None:
            check_takes(self.reading, ("parts",), "Observer's 'reading'")

    def __call__(self, whose: Grid | Run, **options: Any) -> Any:
        return self.watch(whose, **options)

    @property
    def arguments(self) -> tuple[str, ...]:
        return ("run",) if self.sees_run else self.takes

    @property
    def function(self) -> Callable[..., Any]:
        return self.watch

    def with_function(self, function: Callable[..., Any]) -> Observer:
        return replace(self, watch=function)

    def of_run(self, run: Run) -> RunObserver:
        """What hears of a run, of an observer that sees it.

        Raises:
            PartError: it gives something else.
        """
        observer: Any = self.watch(run)
        if not isinstance(observer, RunObserver):
            raise PartError(
                self,
                "an observer that sees the run gives an object of a class made from "
                f"ldm_core.contracts.RunObserver, not {brief(observer)}.",
            )
        return observer

    def of_walk(self, grid: Grid) -> AbstractContextManager[Tell]:
        """What hears of a walk, of an observer that sees the grid alone.

        Raises:
            PartError: it gives something else.
        """
        watch: Any = self.watch(grid)
        if not isinstance(watch, AbstractContextManager):
            raise PartError(
                self, f"an observer gave {brief(watch)}, and should give a context manager."
            )
        return watch


def sees_reading(reading: Reading) -> Callable[[Watch | Marked], Marked]:
    """Say what an observer does while the weights are read that its runs are made with.

    It is in force where the pipeline that has the observer is the one that reads them.

    Example::

        @contextmanager
        def told(parts):
            print("reading", len(parts), "parts")
            yield lambda part: print(part.name)

        @sees_reading(told)
        @sees_run
        def mine(run):
            return RunObserver()
    """
    return lambda function: with_trait(function, "reading", reading)


def as_observer(part: Observer | Watch) -> Observer:
    """The record of an observer; `LdmError` for what cannot be called."""
    return as_record(Observer, part, "an observer is a function (grid) -> context manager")
