"""Sub-commands made of functions: what a function takes is what its command takes.

Positional parameters become arguments (``*names`` a list of any length), keyword-only ones
options, helped by the ``Args:`` of the docstring. Of a type such as ``Path | Image`` the command
line reads the first. A parameter whose type is a dataclass, such as
`RecipeChoices`, stands for an option for each of its fields. A function whose first parameter is a
``Pipeline`` gets one made of the choices that all runs share, see `ldm_core.cli.running`; one that
gives its outputs in batches takes a flag for each input of the model as well.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import typer

from ldm_core.annotations import is_quoted, names_pipeline
from ldm_core.cli.asking import hub_for
from ldm_core.cli.choices import (
    FLAGS,
    SHORT,
    DrawingChoices,
    RecipeChoices,
    RunChoices,
    WorkChoices,
)
from ldm_core.cli.completion import completion_of
from ldm_core.cli.frames import Command
from ldm_core.cli.inputs import KEY, Flags, TakesInputs
from ldm_core.cli.later import help_of
from ldm_core.cli.results import print_results
from ldm_core.cli.running import run_pipeline
from ldm_core.cli.words import as_help
from ldm_core.errors import LdmError
from ldm_core.model.hub_permission import hub_permission
from ldm_core.plugins.blame import blamed, is_of_others
from ldm_core.plugins.command_names import UNUSABLE
from ldm_core.plugins.options import REQUIRED, Option, describe, plain_function, read_fields
from ldm_core.plugins.registry import Plugin, installed
from ldm_core.run.in_batches import Draws, InBatches
from ldm_core.values import brief, fitted

WHATEVER = {"ignore_unknown_options": True, "allow_extra_args": True}
"""How a command is read whose options nobody knows."""


OF_EACH_CALL = frozenset({"seed", "num_images_per_prompt", "frame_rate", "skip"})
"""What a function that draws in batches is told of its flags beside its own options."""


OF_THE_PROGRAM = frozenset({"help", "plugin"})
"""Flags that are read before or behind any command."""


OF_THE_PIPELINE = frozenset({"model", "recipe", "set"})
"""Flags by which a person says what the pipeline of a command is, whosever command it is."""


def made_command(name: str, plugin: Plugin) -> Any:
    """One command as typer has it; of one that cannot be made, one that says why."""
    try:
        with blamed(plugin, "while its command was made"):
            run, in_batches = as_command(plugin), isinstance(plugin.loaded, InBatches)
            return _command(name, help_of(plugin), run, TakesInputs if in_batches else Command)
    except LdmError as error:
        help = f"{help_of(plugin)}\n\n{as_help(f'({UNUSABLE}: {error.message})')}"
        return _command(name, help, _broken(error), None, **WHATEVER)


def _command(name: str, help: str, run: Callable[..., None], kind: Any, **settings: bool) -> Any:
    alone = typer.Typer(add_completion=False)
    alone.command(name, help=help, cls=kind, context_settings=settings)(run)
    return typer.main.get_command(alone)


def as_command(plugin: Plugin) -> Callable[..., None]:
    """A function with the signature that typer reads."""
    function = plugin.loaded
    signature = list(inspect.signature(function).parameters.values())
    takes_pipeline = bool(signature) and names_pipeline(signature[0].annotation)
    arguments, choices = _arguments(function, signature[1:] if takes_pipeline else signature)
    options = describe(function, [p for p in signature if p.kind is p.KEYWORD_ONLY])
    choices |= {n: o.annotation for n, o in options.items() if is_dataclass(o.annotation)}
    options = {name: option for name, option in options.items() if name not in choices}
    if takes_pipeline:
        choices = {"": _choices_of(function)}
    shared = {
        key: {n: o for n, o in read_fields(kind).items() if n not in {*options, *arguments}}
        for key, kind in choices.items()
    }
    several = {p.name for p in signature if p.kind is p.VAR_POSITIONAL}
    parameters = [_argument(option, option.name in several) for option in arguments.values()]
    parameters += [_option(option) for option in options.values()]
    parameters += [_option(option) for group in shared.values() for option in group.values()]

    if isinstance(function, InBatches):
        kind = inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter("context", kind, annotation=typer.Context))
    owner = f"the command '{plugin.name}'"
    for name in OF_THE_PROGRAM & {*options}:
        raise TypeError(f"its option '{name}' would stand in the place of --{name}")
    for name in OF_THE_PIPELINE & {*options, *arguments} if takes_pipeline else ():
        raise TypeError(
            f"its parameter '{name}' would stand in the place of --{name}, which says what the "
            "pipeline is that it is given; give it another name"
        )
    _check_flags({**options, **{n: o for group in shared.values() for n, o in group.items()}})
    if isinstance(function, InBatches) and "context" in {*options, *arguments}:
        raise TypeError("its parameter 'context' has a name that is taken; give it another")
    if isinstance(function, InBatches):
        for name in OF_EACH_CALL & {*options, *arguments}:
            raise TypeError(
                f"its parameter '{name}' has a name by which the command line tells each call what "
                "a person said; give it another"
            )
    _check_runs(plain_function(function), takes_pipeline)
    for option in (*options.values(), *arguments.values()):
        _check_default(option)

    def run(**values: Any) -> None:
        def checked(names: Mapping[str, Option]) -> dict[str, Any]:
            return {n: names[n].check(values[n], owner) for n in names}

        objects = {key: kind(**checked(shared[key])) for key, kind in choices.items()}
        job = any(
            isinstance(o, RunChoices) and o.prompts_file is not None for o in objects.values()
        )
        positional: list[Any] = []
        for name, option in arguments.items():
            entries = (values[name] or []) if name in several else [values[name]]
            left = job and name not in several and values[name] is None  # to the file's lines
            positional += entries if left else [option.check(value, owner) for value in entries]
        context = values["context"] if isinstance(function, InBatches) else None
        flags = Flags({}, ()) if context is None else context.meta[KEY]
        typed = [*(v for v in values.values() if isinstance(v, str | list)), *flags.values.values()]
        whatever = any(isinstance(o, RecipeChoices) and o.allow_hub for o in objects.values())
        with hub_permission(hub_for(typed, whatever)):
            if takes_pipeline:
                run_pipeline(plugin, objects[""], positional, checked(options), flags)
            else:
                with blamed(plugin, "while it ran", installed().plugins, typed=True):
                    made = function(*positional, **objects, **checked(options))
                print_results(plugin.whose if is_of_others(plugin) else owner, made)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def _choices_of(function: Any) -> type[WorkChoices]:
    """What makes the pipeline of a function, and what becomes of what it draws."""
    if isinstance(function, InBatches):
        return RunChoices
    return DrawingChoices if isinstance(function, Draws) else WorkChoices


def _check_runs(function: Any, takes_pipeline: bool) -> None:
    """See that calling a command runs it; `TypeError` where it only makes what would.

    Args:
        takes_pipeline: it is a pipeline, which may yield what it makes.
    """
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError("it is an async function, which a call does not run")
    if inspect.isgeneratorfunction(function) and not takes_pipeline:
        raise TypeError("it is a generator, which a call does not run")


def _check_default(option: Option) -> None:
    """See that an option is of a type, and can be what it is where nobody says it; `TypeError`
    where it cannot."""
    if is_quoted(option.annotation):
        raise TypeError(f"its '{option.name}' is annotated {brief(option.annotation)}, no type")
    if option.default is REQUIRED or option.default is None:
        return
    try:
        fitted(option.annotation, option.default)
    except ValueError as error:
        raise TypeError(
            f"the default of '{option.name}' should be {option.type_name}, not "
            f"{brief(option.default)}: {error}"
        ) from None


def _arguments(
    function: Callable[..., Any], parameters: Iterable[inspect.Parameter]
) -> tuple[dict[str, Option], dict[str, Any]]:
    """The positional parameters: those that are arguments, and the types of those that are
    choices."""
    kinds = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
    )
    options = describe(function, [p for p in parameters if p.kind in kinds])
    choices = {n: o.annotation for n, o in options.items() if is_dataclass(o.annotation)}
    return {n: o for n, o in options.items() if n not in choices}, choices


def _typed(annotation: Any) -> Any:
    """The type that the command line reads: of several, the first, or nothing."""
    if get_origin(annotation) is Annotated:
        return _typed(get_args(annotation)[0])
    if get_origin(annotation) is list:
        return list[_typed(get_args(annotation)[0])]  # type: ignore[misc]
    if get_origin(annotation) not in (Union, UnionType):
        return annotation
    parts = get_args(annotation)
    first = _typed(parts[0])
    return first | None if NoneType in parts else first


def _argument(option: Option, several: bool) -> inspect.Parameter:
    kind: Any = _typed(option.annotation)
    name = option.name.upper()
    if several:
        name, kind = f"[{name.removesuffix('S')}]...", list[kind] | None
        default: Any = None
    else:
        name = name if option.default is REQUIRED else f"[{name}]"
        default = option.default
    annotation: Any = Annotated[kind, typer.Argument(metavar=name, help=as_help(option.help))]
    return inspect.Parameter(
        option.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _flags(option: Option) -> list[str]:
    """The flag of an option, and that which turns it off, where it has one."""
    name = option.name.replace("_", "-")
    off = option.annotation is bool and option.default is not False
    return [FLAGS.get(option.name, f"--{name}"), *([f"--no-{name}"] if off else [])]


def _check_flags(options: Mapping[str, Option]) -> None:
    """See that each option has flags of its own; `TypeError` where two have the same."""
    owners: dict[str, str] = {}
    for name, option in options.items():
        for flag in _flags(option):
            if flag in owners:
                raise TypeError(f"its options '{owners[flag]}' and '{name}' have one flag, {flag}")
            owners[flag] = name


def _option(option: Option) -> inspect.Parameter:
    short = [SHORT[option.name]] if option.name in SHORT else []
    flag = "/".join(_flags(option))
    kind: Any = _typed(option.annotation)
    told: dict[str, Any] = {"help": as_help(option.help)}
    if (known := completion_of(option.name, kind)) is not None:
        told["autocompletion"] = known
    annotation: Any = Annotated[kind, typer.Option(flag, *short, **told)]
    return inspect.Parameter(
        option.name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=annotation
    )


def _broken(error: LdmError) -> Callable[..., None]:
    def run() -> None:
        raise error

    return run
