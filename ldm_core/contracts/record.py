"""What the records of parts share: a function, whose keyword-only parameters are its options."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, ClassVar, Self, TypeVar

from ldm_core.arguments import check_fields
from ldm_core.contracts.family import ModelInfo
from ldm_core.errors import LdmError
from ldm_core.values import brief

T = TypeVar("T")
Fit = Callable[[ModelInfo], Any]
"""``fit(info)``: the part for a model, a record of the same kind or a function in place of its own;
None for the part as it is. It raises `LdmError` with the reason where it does not fit."""


@dataclass(frozen=True, eq=False)
class Record(ABC):
    """A part as the core holds it: a function, and its traits in typed fields.

    A plain function becomes a record at one edge, such as `as_scheduler`; a decorator, such as
    `starts_with`, makes one with a trait. Called, a record calls its function.

    Attributes:
        takes: what its function is called with by place; what takes more or less is refused here,
            and not found out in the middle of a run.
        fit: ``fit(info)``, asked once when composing, before any weight is read, see `fits`.
    """

    takes: ClassVar[tuple[str, ...]] = ()

    fit: Fit | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if isinstance(self.function, Record):
            raise LdmError(
                f"a {type(self).__name__} made of a {type(self.function).__name__} would lose the "
                "traits of that; change a record by a decorator or dataclasses.replace."
            )
        check_fields(self)
        if self.arguments:
            check_takes(self.function, self.arguments, type(self).__name__)
        if self.fit is not None:
            check_takes(self.fit, ("info",), f"{type(self).__name__}'s 'fit'")

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
        """A record whose function has these keyword-only parameters set, also once it is fitted
        to a model."""
        if not options:
            return self
        record = self.with_function(partial(self.function, **options))
        if self.fit is None:
            return record
        return replace(record, fit=lambda info: self.fitted(info).with_options(options))

    def fitted(self, info: ModelInfo) -> Self:
        """The part for a model.

        Raises:
            LdmError: it does not fit.
        """
        if self.fit is None:
            return self
        part = self.fit(info)
        if part is None:
            return replace(self, fit=None)
        if isinstance(part, type(self)):
            return part
        if isinstance(part, Marked):
            return replace(self.with_function(part.marked), fit=part.fit).fitted(info)
        if isinstance(part, Record) or not callable(part):
            raise LdmError(
                f"the 'fit' of a {type(self).__name__} gives a {type(self).__name__}, a function, "
                f"or None for the part as it is, not {brief(part)}."
            )
        return replace(self.with_function(part), fit=None)

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


@dataclass(frozen=True, eq=False)
class Marked(Record):
    """A function and its traits, before it is seen of which kind it is.

    Attributes:
        marked: the function.
        traits: by the names of a record's fields.
    """

    marked: Callable[..., Any]
    traits: Mapping[str, Any] = field(default_factory=dict)

    @property
    def function(self) -> Callable[..., Any]:
        return self.marked

    def with_function(self, function: Callable[..., Any]) -> Marked:
        return replace(self, marked=function)


def fits(rule: Fit) -> Callable[[Any], Any]:
    """Say how a part is fitted to a model, or why it does not fit: a decorator of what a plugin
    offers as a function or record, whatever its kind.

    ``rule(info)`` is asked once when composing, before any weight is read. It raises `LdmError`
    with the reason where the part does not fit; it gives None for the part as it is, or the part
    for this model: a record of the same kind, or a function that takes the place of the part's
    own. Options that are set before are kept.

    Example::

        def needs_pictures(info):
            if {*info.latents.names} != {"height", "width"}:
                raise LdmError(f"'blur' is for pictures, and '{info.source}' draws none.")

        @fits(needs_pictures)
        def blur(denoise, *, radius: float = 1.0): ...
    """
    check_takes(rule, ("info",), "rule of 'fits'")

    def mark(part: Any) -> Any:
        part = unwrapped(part)
        if not isinstance(part, Record):
            return Marked(_function(part, "'fits' marks a function or record"), fit=rule)
        if part.fit is None:
            return replace(part, fit=rule)
        inner = part.fitted
        return replace(part, fit=lambda info: replace(inner(info), fit=rule).fitted(info))

    return mark


def with_trait(part: Any, name: str, value: Any) -> Marked:
    """A plain function, or one that is marked already, with a trait of a kind that is not yet
    known.

    Raises:
        LdmError: it is a record, whose function takes what a record without the trait takes.
    """
    part = unwrapped(part)
    if isinstance(part, Marked):
        return replace(part, traits={**part.traits, name: value})
    if isinstance(part, Record):
        raise LdmError(f"'{name}' marks a function, before other decorators, not {brief(part)}.")
    return Marked(_function(part, f"'{name}' marks a function"), {name: value})


def _function(part: Any, words: str) -> Callable[..., Any]:
    if not callable(part):
        raise LdmError(f"{words}, not {brief(part)}.")
    function: Callable[..., Any] = part
    return function


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
    return made(kind, part)


def made(kind: type[R], part: Any, /, **traits: Any) -> R:
    """A record of a kind around a function that may be marked, with these traits too.

    Raises:
        LdmError: it is marked with what its kind does not have.
    """
    of_kind: Callable[..., R] = kind
    if not isinstance(part, Marked):
        return of_kind(part, **traits)
    own = {one.name for one in fields(kind)}
    for name in part.traits.keys() - own:
        raise LdmError(f"a {kind.__name__} cannot be marked '{name}', as {brief(part.marked)} is.")
    return of_kind(part.marked, fit=part.fit, **{**part.traits, **traits})


def as_instance(kind: type[T], part: Any, name: str) -> T:
    """A part whose kind is a base class, once it is seen to be of it.

    Raises:
        LdmError: it is of another class.
    """
    if isinstance(part, Marked):
        raise LdmError(
            f"a {name} is no function that can be marked, as {brief(part.marked)} is: it is fitted "
            "to a model by its method fit(info), and sees a run by bind(run)."
        )
    if not isinstance(part, kind):
        raise LdmError(
            f"a {name} is an object of a class made from ldm_core.contracts.{kind.__name__}, not "
            f"{brief(part)}."
        )
    return part
