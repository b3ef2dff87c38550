"""What the records of parts share: a function, whose keyword-only parameters are its options."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Self, TypeVar

from ldm_core.arguments import check_fields
from ldm_core.errors import LdmError
from ldm_core.values import brief

T = TypeVar("T")


class Record(ABC):
    """A part as the core holds it: a function, and its traits in typed fields.

    A plain function becomes a record at one edge, such as `as_scheduler`; a decorator, such as
    `starts_with`, makes one with a trait. Called, a record calls its function.

    Attributes:
        takes: what its function is called with by place; what takes more or less is refused here,
            and not found out in the middle of a run.
    """

    takes: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if isinstance(self.function, Record):
            raise LdmError(
                f"a {type(self).__name__} made of a {type(self.function).__name__} would lose the "
                "traits of that; change a record by a decorator or dataclasses.replace."
            )
        check_fields(self)
        if self.arguments:
            check_takes(self.function, self.arguments, type(self).__name__)

    @property
    def arguments(self) -> tuple[str, ...]:
        """What the function is called with, by place."""
        return self.takes

    @property
    @abstractmethod
    def function(self) -> Callable[..., Any]:
        """What the part does; its docstring describes it."""

    @abstractmethod
    def with_function(self, function: Callable[..., Any]) -> Self:
        """A record with the same traits around another function."""

    def with_options(self, options: Mapping[str, Any]) -> Self:
        """A record whose function has these keyword-only parameters set."""
        return self.with_function(partial(self.function, **options)) if options else self

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.function(*args, **options)


def check_takes(function: Any, arguments: tuple[str, ...], kind: str) -> None:
    """See that a function can be called with so many arguments by place.

    Raises:
        LdmError: it is none, or takes more or fewer.
    """
    words = f"a {kind} is made of a function ({', '.join(arguments)})"
    if not callable(function):
        raise LdmError(f"{words}, not of {brief(function)}.")
    for odd, name in (
        (inspect.iscoroutinefunction(function), "an async function"),
        (inspect.isgeneratorfunction(function), "a generator"),
    ):
        if odd:
            raise LdmError(f"{words}, and {brief(function)} is {name}.")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # one that is not written in Python may say nothing of it
        if inspect.isclass(function):
            raise LdmError(f"{words}, not of {brief(function)}.") from None
        return
    places = [
        p
        for p in signature.parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    needed = sum(1 for place in places if place.default is place.empty)
    any_number = any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values())
    if needed > len(arguments) or not (any_number or len(places) >= len(arguments)):
        raise LdmError(f"{words}, and {brief(function)} takes {signature}.")


def unwrapped(part: Any) -> Any:
    """A record with its options set, where options were set around a record by `functools.partial`;
    anything else as it is."""
    if isinstance(part, partial) and isinstance(part.func, Record):
        if part.args:
            raise LdmError(
                "options of a part are set by name; one that functools.partial sets by place would "
                f"take its traits away: {brief(part)}."
            )
        return part.func.with_options(part.keywords)
    return part


R = TypeVar("R", bound=Record)


def as_record(kind: type[R], part: Any, shape: str) -> R:
    """The record of a part: the one edge where a plain function becomes one.

    Args:
        shape: what such a function is, for the message: ``a wrapper is a function (denoise)``.
    Raises:
        LdmError: it cannot be called, or is a record of another kind.
    """
    part = unwrapped(part)
    if isinstance(part, kind):
        return part
    if not callable(part):
        raise LdmError(f"{shape} or a {kind.__name__}, not {brief(part)}.")
    return kind(part)  # type: ignore[call-arg]


def as_instance(kind: type[T], part: Any, name: str) -> T:
    """A part whose kind is a base class, once it is seen to be of it.

    Raises:
        LdmError: it is of another class.
    """
    if not isinstance(part, kind):
        raise LdmError(
            f"a {name} is an object of a class made from ldm_core.contracts.{kind.__name__}, not "
            f"{brief(part)}."
        )
    return part
