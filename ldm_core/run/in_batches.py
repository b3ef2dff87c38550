"""Functions of a pipeline that draw: what they give, batch by batch, or write themselves."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import update_wrapper
from typing import TYPE_CHECKING, Any

from ldm_core.arguments import checks_arguments
from ldm_core.errors import LdmError, LdmWarning

if TYPE_CHECKING:
    from ldm_core.run.output import Output


class InBatches:
    """A function of a pipeline that yields outputs, made by `in_batches`. Called, it returns them
    as one; `batches` yields them.

    Attributes:
        skips: it takes what a call takes as ``skip``, and gives pictures as that call makes them.
        earlier: options that had other names before, see `earlier_names`: the name by the old one.
    """

    __name__: str

    def __init__(self, batches: Callable[..., Iterator[Output]], skips: bool = False) -> None:
        self._batches = checks_arguments(batches)
        self.skips = skips
        self.earlier: Mapping[str, str] = {}
        update_wrapper(self, batches)

    def batches(self, /, *args: Any, **arguments: Any) -> Iterator[Output]:
        """The outputs, each when it is made."""
        for old in self.earlier.keys() & arguments.keys():
            new = self.earlier[old]
            if new in arguments:
                raise LdmError(f"'{old}' is given twice: it is called '{new}' now.")
            warnings.warn(LdmWarning(f"'{old}' is called '{new}' now."), stacklevel=3)
            arguments[new] = arguments.pop(old)
        return self._batches(*args, **arguments)

    def __call__(self, /, *args: Any, **arguments: Any) -> Output:
        from ldm_core.run.output import Output

        return Output.gathered(self.batches(*args, **arguments))


class Draws:
    """A function of a pipeline that draws, and writes its files itself, made by `draws`; called, it
    does what it does without."""

    __name__: str

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = checks_arguments(function)
        update_wrapper(self, function)

    def __call__(self, /, *args: Any, **arguments: Any) -> Any:
        return self._function(*args, **arguments)


def draws(function: Callable[..., Any]) -> Draws:
    """Mark a pipeline's function that draws pictures by it and returns the paths of the files that
    it wrote: the command line lets them be seen as they form."""
    return Draws(function)


def in_batches(function: Callable[..., Iterator[Output]]) -> InBatches:
    """Make a pipeline's function of a generator of outputs: called from Python it returns one
    `Output`, and the command line writes each as it comes."""
    return InBatches(function)


def earlier_names(**names: str) -> Callable[[InBatches], InBatches]:
    """Let options of a pipeline's function be said by the names that they had before: in Python,
    with a warning, and in the manifests of pictures. The command line has the new flags alone.

    Args:
        names: the new name by the old one.
    """

    def named(function: InBatches) -> InBatches:
        function.earlier = names
        return function

    return named


def skipping(function: Callable[..., Iterator[Output]]) -> InBatches:
    """`in_batches` for a function that hands ``skip`` on to the one call that makes its pictures,
    and changes nothing of what that gives: what a folder holds already it does not make again."""
    return InBatches(function, skips=True)
