"""Conditioning: turn what a person gives into what the network takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core.arguments import check_fields
from ldm_core.contracts.family import Model, ModelInfo
from ldm_core.contracts.files import parts_of, with_full_paths
from ldm_core.contracts.latents import Extent
from ldm_core.contracts.network import Condition, Unequal
from ldm_core.contracts.record import as_instance
from ldm_core.contracts.run import Request, Run, RunHooks
from ldm_core.errors import LdmError
from ldm_core.numerics.grid import Grid
from ldm_core.values import brief, fitted, is_type, type_name

if TYPE_CHECKING:
    from ldm_core.contracts.guidance import Guidance

REQUIRED = ...
"""The default of an input that must be given."""


@dataclass(frozen=True)
class Input:
    """One input of a conditioning.

    Attributes:
        type: the type of its value for one image; the command line reads a flag as this.
        default: of an image for which it is not given; `REQUIRED` where it must be.
        each: a list says something else of each image; else one value serves all of a run.
        file_keys: of tables in its value, the keys under which files are named. Those, and text
            where the type has `pathlib.Path`, are named in full once they are given.
        help: a line for the person who gives it.
        example: ``example(extent)`` gives a value that serves runs of an extent, with which their
            memory is foreseen; needed where none that is made by the type alone serves, such as a
            picture smaller than what is made.
    """

    type: Any = object
    default: Any = None
    each: bool = True
    help: str = ""
    file_keys: tuple[str, ...] = ()
    example: Callable[[Extent], Any] | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if not is_type(self.type):
            raise LdmError(
                f"the argument 'type' of Input should be a type, such as str or float | None, not "
                f"{brief(self.type)}."
            )
        if self.default is None or self.required:
            return
        try:
            fitted(self.type, self.default)
        except ValueError as error:
            raise LdmError(
                f"the default of an Input of {type_name(self.type)} is {brief(self.default)}, "
                f"which does not fit: {error}."
            ) from None

    @property
    def required(self) -> bool:
        """Whether a person must say it."""
        return self.default is REQUIRED

    def in_full(self, value: Any) -> Any:
        """A value of it with its files named in full."""
        names_file = Path in parts_of(self.type)
        if not (names_file or self.file_keys):
            return value
        return with_full_paths(value, names_file, self.file_keys)

    def same_as(self, other: Input) -> bool:
        """Whether two parts mean the same by it; they may describe it in other words."""
        return (self.type, self.default, self.each) == (other.type, other.default, other.each)


class Conditioning:
    """Gives a network no condition and reads nothing; others override what they do.

    An input whose name begins with ``negative_`` speaks for the branch ``negative`` alone, and is
    left out, as where it has its default, of the branch ``unconditional``.
    """

    @property
    def ability(self) -> str | None:
        """The ability that the model's family must have, such as ``text``; None for no ability.
        Of two conditionings with the same one, each would undo what the other says."""
        return None

    @property
    def inputs(self) -> Mapping[str, Input]:
        """The inputs that it reads, by name."""
        return {}

    def fit(self, info: ModelInfo) -> Conditioning:
        """The conditioning for a model; raise `LdmError` with the reason where it does not fit."""
        return self

    def files(self) -> Sequence[Path]:
        """What it reads beyond the model's files, once it is fitted: files, and folders of models;
        the manifest holds their hashes."""
        return ()

    def check(self, request: Request) -> None:
        """Raise `LdmError` for inputs that cannot be used; called before weights are loaded."""

    def check_guidance(self, guidance: Guidance, request: Request) -> None:
        """Raise `LdmError` for inputs that cannot be used under a guidance; called as `check`."""

    def complete(self, model: Model, request: Request) -> Request:
        """The request with what a person left out of its inputs, such as words that a model writes;
        the manifest holds them, so that a picture that is made again is made of the same. Asked
        before a batch begins, and again of what it gave, which it then leaves as it is."""
        return request

    def cut(self, grid: Grid, request: Request) -> Grid:
        """The part of the way that is walked, such as its end."""
        return grid

    def adapt(self, model: Model) -> Model:
        """What runs are made with in place of the model, such as one with more layers. It shares
        weights with the given one and leaves it as it was; asked at every run."""
        return model

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition | Unequal]:
        """The condition of each branch, a row an image; called once the first x is made.

        Args:
            branches: ``positive``, ``negative`` or both. The branch ``unconditional`` is asked for
                as the negative one of a request without inputs for that; a guidance's own ones as
                the positive one of a request with others.
        """
        return {}

    def bind(self, run: Run) -> RunHooks:
        """What it does in a run beside giving conditions."""
        return RunHooks()


def as_conditioning(part: Any) -> Conditioning:
    """A conditioning, once it is seen to be one; `LdmError` for anything else."""
    return as_instance(Conditioning, part, "conditioning")
