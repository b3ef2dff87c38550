"""What a person hands to a function, seen to be of the types that its signature declares.

One mechanism for arguments of functions, fields of records and options of plugins: pydantic reads
the annotation, numbers of NumPy and torch are numbers, and what does not fit is an `LdmError` that
names the argument, raised where the function is called.
"""

from __future__ import annotations

import inspect
import operator
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import fields
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar, cast

from ldm_core.annotations import evaluated, is_quoted
from ldm_core.errors import LdmError, did_you_mean
from ldm_core.values import brief, fitted, type_name

_looked_up: ContextVar[bool] = ContextVar("looked_up", default=False)
P = ParamSpec("P")
R = TypeVar("R")


def checks_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function see to what it is called with, by the annotations of its signature.

    Numbers of NumPy and torch become Python's, and tuples, ranges and arrays lists where a list is
    declared. What has no annotation is handed on as it is.

    Raises:
        LdmError: when called, with the name of an argument that is missing, unknown or of another
            type.
    """
    signature = inspect.signature(function)
    plain = _plain(signature)

    @wraps(function)
    def call(*args: P.args, **named: P.kwargs) -> R:
        if not named and plain is not None and len(args) == len(plain):  # nothing to bind
            annotations = _annotations(function)
            pairs = zip(plain, args, strict=True)
            fit = (argument(n, annotations[n], v, function.__name__) for n, v in pairs)
            return cast(Callable[..., R], function)(*fit)
        bound = _bound(function, signature, args, named)
        annotations = _annotations(function)
        for name, value in bound.arguments.items():
            annotation = annotations[name]
            kind = signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                bound.arguments[name] = tuple(
                    argument(name, annotation, v, function.__name__) for v in value
                )
            elif kind is inspect.Parameter.VAR_KEYWORD:
                bound.arguments[name] = {
                    n: argument(n, annotation, v, function.__name__) for n, v in value.items()
                }
            else:
                bound.arguments[name] = argument(name, annotation, value, function.__name__)
        return function(*bound.args, **bound.kwargs)

    return call


def _plain(signature: inspect.Signature) -> tuple[str, ...] | None:
    """The names of parameters that can each be given by their place; None where not all can."""
    parameters = signature.parameters.values()
    by_place = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    if all(one.kind in by_place for one in parameters):
        return tuple(one.name for one in parameters)
    return None


def check_fields(record: Any, owner: str = "") -> None:
    """See to the fields of a frozen dataclass, as `checks_arguments` does to arguments; for its
    ``__post_init__``."""
    kind: Callable[..., Any] = type(record)
    annotations = _annotations(kind)
    for one in fields(record):
        value = operator.attrgetter(one.name)(record)
        fit = argument(one.name, annotations[one.name], value, owner or kind.__name__)
        if fit is not value:
            object.__setattr__(record, one.name, fit)


def argument(name: str, annotation: Any, value: Any, owner: str) -> Any:
    """An argument as its annotation wants it.

    Args:
        owner: the function, for the message.
    Raises:
        LdmError: it is something else.
    """
    try:
        return fitted(annotation, value)
    except ValueError as error:
        raise LdmError(
            f"the argument '{name}' of {owner} should be {type_name(annotation)}, not "
            f"{brief(value)}: {error}."
        ) from None


def _bound(
    function: Callable[..., Any],
    signature: inspect.Signature,
    args: tuple[Any, ...],
    named: Mapping[str, Any],
) -> inspect.BoundArguments:
    """The arguments by the names of a signature.

    Raises:
        LdmError: one is unknown, missing, given twice or one too many.
    """
    try:
        return signature.bind(*args, **named)
    except TypeError as error:
        shown = [n for n in signature.parameters if n not in ("self", "cls")]
        for name in named:
            if name not in signature.parameters:
                raise LdmError(
                    f"{function.__name__} takes no argument '{name}'.{_meant(name, shown)} "
                    f"It takes {', '.join(shown)}."
                ) from None
        raise LdmError(f"{function.__name__}: {error}; it takes {', '.join(shown)}.") from None


def _meant(name: str, known: list[str]) -> str:
    """What a name is where it is another program's, or which of ours is near."""
    if _looked_up.get():  # within the looking up itself, whose arguments are checked too
        return did_you_mean(name, known)
    from ldm_core.plugins.elsewhere_words import argument_said

    token = _looked_up.set(True)
    try:
        return argument_said(name) or did_you_mean(name, known)
    finally:
        _looked_up.reset(token)


@cache
def _annotations(target: Callable[..., Any]) -> Mapping[str, Any]:
    """The annotations of the parameters of a function, or the fields of a dataclass."""
    if isinstance(target, type):
        namespace: dict[str, Any] = {}
        for kind in reversed(target.__mro__):
            home = sys.modules.get(kind.__module__)
            namespace |= {} if home is None else dict(vars(home))
    else:
        namespace = cast(Any, inspect.unwrap(target)).__globals__
    parameters = inspect.signature(target).parameters.values()
    return {p.name: _evaluated(p.annotation, namespace) for p in parameters}


def _evaluated(annotation: Any, namespace: Mapping[str, Any]) -> Any:
    """An annotation; `Any` for one that names what its module imports for type checkers alone and
    what is none of `_LATER`."""
    if annotation is inspect.Parameter.empty:
        return Any
    if not is_quoted(annotation):
        return annotation
    said = str(annotation)
    names = {n: later() for n, later in _LATER.items() if n in said and n not in namespace}
    try:
        return evaluated(annotation, namespace, names)
    except NameError:
        return Any


def _tensor() -> Any:
    import torch

    return torch.Tensor


def _pipeline() -> Any:
    from ldm_core.run.pipeline import Pipeline  # a name for its annotation, asked when called

    return Pipeline


_LATER: Mapping[str, Callable[[], Any]] = {"Tensor": _tensor, "Pipeline": _pipeline}
"""What annotations name and modules import for type checkers alone."""
