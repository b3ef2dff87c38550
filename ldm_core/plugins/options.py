"""Options of a plugin, read from the keyword-only parameters of its target."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from functools import partial
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin

from ldm_core import contracts
from ldm_core.annotations import evaluated, is_quoted, names_pipeline
from ldm_core.contracts.files import expanded
from ldm_core.contracts.record import Marked, Record
from ldm_core.errors import LdmError, did_you_mean, home_of
from ldm_core.values import brief, fitted, is_type, type_name

TYPING = ("types", "typing", "typing_extensions")
LARGEST = 3.4e38
"""What float32 ends at."""
REQUIRED = inspect.Parameter.empty
CONTRACTS: dict[Any, str] = {
    contracts.Scheduler: "scheduler",
    contracts.Spacing: "spacing",
    contracts.Guidance: "guidance",
    contracts.Conditioning: "conditioning",
    contracts.Kernel: "attention",
    contracts.Wrapper: "denoiser",
    contracts.Encoder: "encoder",
    contracts.Decoder: "decoder",
    contracts.Converter: "converter",
    contracts.Observer: "observer",
    contracts.Writer: "writer",
    contracts.Metric: "metric",
    contracts.Family: "family",
    contracts.OtherModel: "model",
}
"""Contracts whose plugins, or models, may be options of plugins, with their kind."""
RECORDS: dict[str, type[Record]] = {
    "scheduler": contracts.Scheduler,
    "spacing": contracts.Spacing,
    "attention": contracts.Kernel,
    "denoiser": contracts.Wrapper,
    "encoder": contracts.Encoder,
    "decoder": contracts.Decoder,
    "observer": contracts.Observer,
    "writer": contracts.Writer,
    "metric": contracts.Metric,
}
"""Kinds of plugins that are functions, with what they become."""


LISTS = (list, tuple, Sequence)
"""What an annotation of several is made of, such as ``list[Scheduler] | None``."""


@dataclass(frozen=True)
class Option:
    """One option: its type annotation, default (`REQUIRED` where it has none) and help line."""

    name: str
    annotation: Any
    default: Any
    help: str

    @property
    def type_name(self) -> str:
        return type_name(self.annotation)

    @property
    def kind(self) -> str | None:
        """The kind of plugin that the option takes, where its type is a plugin's contract; or
        ``model``."""
        parts = (p for p in _alternatives(self.annotation) if isinstance(p, type))
        return next((CONTRACTS[part] for part in parts if part in CONTRACTS), None)

    @property
    def several(self) -> bool:
        """Whether it takes a list of such plugins."""
        return any(
            get_origin(part) in LISTS and Option("", part, None, "").kind is not None
            for part in _alternatives(self.annotation)
        )

    def check(self, value: Any, owner: str) -> Any:
        """The value as the option's type; text is converted, as on the command line."""
        if self.kind and value is not None:
            return value  # a plugin's choice, resolved where the pipeline is composed
        try:
            checked = fitted(self.annotation, value, text=True)
        except ValueError as error:
            raise LdmError(
                f"option '{self.name}' of {owner} should be {self.type_name}, not {brief(value)}: "
                f"{error}."
            ) from None
        if (number := _too_large(checked)) is not None:
            raise LdmError(
                f"option '{self.name}' of {owner} is {brief(number)}, beyond all that is "
                "computed with here, which ends at 3.4e+38."
            )
        return _expanded(checked)


def _alternatives(annotation: Any) -> Iterator[Any]:
    """A type and what a value of it may be: of ``list[Scheduler] | None`` the list, the scheduler
    and None. A table of parts is none that can be made."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is None or origin in LISTS:
        yield annotation
    if origin is Annotated:
        parts = parts[:1]
    if origin in (*LISTS, Annotated, Union, UnionType):
        for part in parts:
            yield from _alternatives(part)


def _too_large(value: Any) -> int | float | None:
    """A number in a value that float32 does not hold."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return next((n for n in map(_too_large, value) if n is not None), None)
    number = isinstance(value, int | float) and value == value  # what is no number is refused
    return value if number and abs(value) > LARGEST else None


def _expanded(value: Any) -> Any:
    """A value with the home folder in the place of each path's ``~``."""
    if isinstance(value, list):
        return [_expanded(entry) for entry in value]
    return expanded(value) if isinstance(value, Path) else value


def described(target: Callable[..., Any]) -> Callable[..., Any]:
    """What has the signature and the docstring of a target: the function in a record."""
    while issubclass(type(target), Record):  # whatever an object says of its class
        target = cast(Record, target).function
    return target


def plain_function(target: Any) -> Any:
    """The function or class that a target or part comes to, beneath records and set options; the
    class of anything else."""
    function = described(target)
    while isinstance(function, partial):
        function = described(function.func)
    named = inspect.isroutine(function) or inspect.isclass(function)
    return function if named else type(function)


def documentation(target: Callable[..., Any]) -> str:
    """The docstring of a target."""
    function = described(target)
    while isinstance(function, partial):
        function = described(function.func)
    return inspect.getdoc(function) or ""


def read_options(target: Callable[..., Any]) -> dict[str, Option]:
    """The keyword-only parameters of a function or class, with the help of its docstring."""
    try:
        parameters = inspect.signature(described(target)).parameters.values()
    except (TypeError, ValueError):
        raise LdmError(f"{brief(target)} does not say what it takes.") from None
    return describe(target, [p for p in parameters if p.kind is p.KEYWORD_ONLY])


def read_fields(kind: type) -> dict[str, Option]:
    """The fields of a dataclass, each with the help of the nearest class that says something of
    it."""
    helps: dict[str, str] = {}
    for ancestor in reversed(kind.__mro__[:-1]):
        helps |= {name: o.help for name, o in read_options(ancestor).items() if o.help}
    return {name: replace(o, help=helps.get(name, "")) for name, o in read_options(kind).items()}


def command_options(target: Callable[..., Any]) -> dict[str, Option]:
    """The options of a command: its keyword-only parameters, and the fields of each parameter that
    is a dataclass."""
    options = read_options(target)
    for parameter in inspect.signature(target).parameters.values():
        by_place = parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        if by_place and not names_pipeline(parameter.annotation):
            annotation = describe(target, [parameter])[parameter.name].annotation
            options |= (
                read_fields(annotation)
                if isinstance(annotation, type) and is_dataclass(annotation)
                else {}
            )
    return options


def describe(
    target: Callable[..., Any], parameters: Iterable[inspect.Parameter]
) -> dict[str, Option]:
    """Some parameters of a function or class, with the help of its docstring."""
    namespace = _namespace(target)
    helps = argument_help(documentation(target))
    options = {}
    for parameter in parameters:
        annotation = parameter.annotation
        if is_quoted(annotation):
            annotation = evaluated(annotation, namespace)
        elif annotation is inspect.Parameter.empty:
            annotation = Any
        name = parameter.name
        options[name] = Option(name, annotation, parameter.default, helps.get(name, ""))
    return options


def _namespace(target: Callable[..., Any]) -> dict[str, Any]:
    """The names that annotations of a function or class may use: those of its module."""
    function = inspect.unwrap(described(target))
    while isinstance(function, partial):
        function = inspect.unwrap(described(function.func))
    if inspect.isfunction(function):
        return dict(function.__globals__)
    home = sys.modules.get(function.__module__)
    return dict(vars(home)) if home is not None else {}


def check_options(
    options: Mapping[str, Option], values: Mapping[str, Any], owner: str, hint: str
) -> dict[str, Any]:
    """The options, converted and complete; `LdmError` names the first that does not fit."""
    for name in values:
        if name not in options:
            listed = ", ".join(options) if options else "none"
            raise LdmError(
                f"{owner} has no option '{name}'.{did_you_mean(name, options)} "
                f"Its options: {listed}.",
                hint,
            )
    for name, option in options.items():
        if option.default is REQUIRED and name not in values:
            raise LdmError(f"{owner} needs the option '{name}' ({option.type_name}).", hint)
    return {name: options[name].check(value, owner) for name, value in values.items()}


def with_options(target: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    """The thing that a target stands for, with its options set.

    A record, or a function that takes its contract's positional parameters, is the thing itself;
    a function without is a factory and is called.
    """
    if isinstance(target, Record):
        return target.with_options(options)
    kinds = inspect.Parameter
    positional = (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD, kinds.VAR_POSITIONAL)
    if any(p.kind in positional for p in inspect.signature(target).parameters.values()):
        return partial(target, **options) if options else target
    return target(**options)


def check_declared(kind: str, target: Callable[..., Any], options: Mapping[str, Option]) -> None:
    """See that each option of a plugin that is no command can be set, and can be what it is by
    default.

    Args:
        kind: of plugin.
    Raises:
        LdmError: one stands before the ``*``, is annotated with what is no type, or its default is
            of another type than it says.
    """
    signature = inspect.signature(described(target))
    before = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    record = RECORDS.get(kind)
    takes = () if record is None else record.takes
    if isinstance(target, Marked):
        takes = (*takes, "request") if target.traits.get("sees_request") else takes
    elif isinstance(target, Record):
        takes = target.arguments
    for parameter in [*signature.parameters.values()][len(takes) :]:
        if parameter.kind in before and parameter.default is not REQUIRED:
            raise LdmError(
                f"its '{parameter.name}' has a default and stands before the '*', so it is no "
                f"option that anybody can set; the options stand behind: (..., *, {parameter})."
            )
    for name, option in options.items():
        annotation = option.annotation
        if not (annotation is None or is_type(annotation) or _is_of_typing(annotation)):
            said = brief(annotation)
            raise LdmError(f"its option '{name}' is annotated {said}, which is no type.")
        if option.kind is not None or option.default is REQUIRED:
            continue
        try:
            fitted(option.annotation, option.default)
        except ValueError:
            raise LdmError(
                f"the default of its option '{name}' is {brief(option.default)}, and should be "
                f"{option.type_name}, as it is annotated."
            ) from None
        try:
            json.dumps(option.default, default=lambda _: None, skipkeys=True)
        except (ValueError, RecursionError):  # which no manifest could hold
            raise LdmError(f"the default of its option '{name}' lies in itself.") from None


def _is_of_typing(annotation: Any) -> bool:
    """Whether that is one of the forms that stand for types, such as a variable of them."""
    return home_of(type(annotation)) in TYPING


def argument_help(doc: str) -> dict[str, str]:
    """Name -> text of the entries in a Google-style ``Args:`` section."""
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", doc, re.MULTILINE)
    if section is None:
        return {}
    lines = section.group(1).splitlines()
    indent = len(lines[0]) - len(lines[0].lstrip())
    helps: dict[str, str] = {}
    names: list[str] = []
    for line in lines:
        entry = re.match(rf" {{{indent}}}(\w+(?:, \w+)*):\s*(.*)", line)
        if entry:
            names = entry.group(1).split(", ")
            helps.update(dict.fromkeys(names, entry.group(2)))
        else:
            helps.update({name: f"{helps[name]} {line.strip()}".strip() for name in names})
    return helps
