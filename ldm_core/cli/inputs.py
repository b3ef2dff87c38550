"""What a person gives the model on the command line: prompts and other inputs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import NoneType
from typing import Any, get_args

from typer.core import TyperOption

from ldm_core.cli.choices import FLAGS
from ldm_core.cli.frames import FRAMES, WRITTEN, Command
from ldm_core.composition.compose import RESERVED
from ldm_core.composition.composition import Composition
from ldm_core.composition.recipe import read_value
from ldm_core.composition.spread import is_one_each
from ldm_core.contracts import Input
from ldm_core.errors import LdmError, did_you_mean
from ldm_core.plugins.elsewhere_words import ARGUMENT_FLAGS, argument_said

KEY = "ldm.inputs"
"""Where the context of a command keeps the flags that are no options of its own."""


@dataclass(frozen=True)
class Flags:
    """The flags that were given beside a command's own options, and the names of those."""

    values: Mapping[str, str]
    own: tuple[str, ...]


class TakesInputs(Command):
    """A command that takes a flag for each input of the model, which is known only once the model
    is: flags that are none of its own options are kept for then."""

    has_lengths = True

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        own = {name for param in self.params for name in (*param.opts, *param.secondary_opts)}
        args = self.with_steps_to(args)
        left, flags = split_flags(args, own | set(self.get_help_option_names(ctx)))
        options = [param for param in self.params if isinstance(param, TyperOption)]
        valued = {name for option in options if not option.is_flag for name in option.opts}
        check_values(left, own, valued)
        if any(arg.partition("=")[0] == FLAGS["prompts_file"] for arg in left):
            for param in self.params:  # which may be columns of the file
                param.required = param.required and isinstance(param, TyperOption)
        ctx.meta[KEY] = Flags(flags, tuple(sorted(own)))
        return super().parse_args(ctx, left)


def split_flags(args: list[str], own: set[str]) -> tuple[list[str], dict[str, str]]:
    """Arguments without flags ``--name value`` and ``--name=value`` that are none of a command's
    own, and those.

    Raises:
        LdmError: such a flag has no value, or stands twice.
    """
    left: list[str] = []
    flags: dict[str, str] = {}
    rest = iter(args)
    for arg in rest:
        if arg == "--":
            return [*left, arg, *rest], flags
        name, equals, value = arg.partition("=")
        if not name.startswith("--") or name in own:
            left.append(arg)
            continue
        if not equals:
            value = next(rest, "--")
            if value.startswith("--"):
                raise LdmError(
                    f"there is no option {name} without a value.{_meant(name, own)}",
                    "an input of the model is given as --name VALUE; `ldm explain` shows them.",
                )
        key = name.removeprefix("--").replace("-", "_")
        if key in flags:
            raise LdmError(f"'{key}' is given twice.", f"a list is one an image: {name} '[1, 2]'")
        flags[key] = value
    return left, flags


def check_values(args: list[str], own: set[str], valued: set[str]) -> None:
    """Raise `LdmError` where an option that needs a value is followed by another option, which
    would be taken for it."""
    rest = args[: args.index("--")] if "--" in args else args
    for name, value in pairwise(rest):
        if name in valued and value.startswith("--") and value.partition("=")[0] in own:
            raise LdmError(
                f"the option {name} needs a value, and {value} follows.",
                f"a text that is called so is given as {name}={value}",
            )


def flags_of(inputs: Mapping[str, Input]) -> list[str]:
    """The flags of these inputs."""
    return [f"--{name.replace('_', '-')}" for name in inputs]


def gather_inputs(others: Iterable[str], more: Mapping[str, Any]) -> dict[str, Any]:
    """Every input that is given, by name.

    Args:
        others: each NAME=VALUE.
        more: those that are given otherwise.
    Raises:
        LdmError: one of another form, or an input given twice.
    """
    inputs = {name: value for name, value in more.items() if value is not None}
    for other in others:
        name, equals, text = other.partition("=")
        name = name.strip()
        if not (name and equals):
            raise LdmError(f"'{other}' should look like NAME=VALUE.", "as in --input class_label=3")
        if name in RESERVED or not name.isidentifier() or name == "self":
            raise LdmError(f"'{name}' is no input of a model.", "`ldm explain` shows them.")
        if name in inputs:
            raise LdmError(
                f"'{name}' is given twice.", f"a list is one an image: --input '{name}=[1, 2]'"
            )
        inputs[name] = read_value(text)
    return inputs


def read_flags(flags: Flags, composition: Composition) -> dict[str, Any]:
    """The values of flags as the model's inputs take them, and lengths of its axes.

    Raises:
        LdmError: the model has no such input, so that the flag is nothing.
    """
    declared, axes = composition.inputs, composition.info.latents.names
    values: dict[str, Any] = {}
    for name, text in flags.values.items():
        flag = f"--{name.replace('_', '-')}"
        if name in axes:
            values[name] = read_value(text)
        elif name in declared:
            values[name] = text if _is_text(declared[name]) else read_value(text)
        else:
            reads = ", ".join(flags_of(declared)) or "none"
            near = _meant(flag, [*flags.own, *flags_of(declared)])
            raise LdmError(
                f"there is no option {flag}.{near} "
                f"Inputs of the model '{composition.info.source}': {reads}.",
                WRITTEN if flag == FRAMES else "",
            )
    return values


def _meant(flag: str, flags: Collection[str]) -> str:
    """What a flag is where it is another program's argument, or which of ours is near."""
    name = flag.removeprefix("--")
    other = ARGUMENT_FLAGS.get(name.replace("-", "_"))
    if other in flags:
        return f" Here, it is {other}."
    return argument_said(name, flags) or did_you_mean(flag, flags)


def with_full_paths(inputs: Mapping[str, Any], composition: Composition) -> dict[str, Any]:
    """Inputs whose files are named in full, as the manifest has to name them to be of use
    elsewhere."""

    declared = composition.inputs
    return {n: declared[n].in_full(v) if n in declared else v for n, v in inputs.items()}


def _kinds(declared: Input) -> set[Any]:
    """The types that an input may have."""
    return {*(get_args(declared.type) or (declared.type,))}


def _is_text(declared: Input) -> bool:
    """Whether an input is text alone, so that ``42`` is no number there."""
    return _kinds(declared) - {NoneType} == {str}


def check_inputs(composition: Composition, inputs: Mapping[str, Any]) -> None:
    """Say in the command line's words what the model needs or does not take.

    Raises:
        LdmError: an input is missing, or lists of inputs differ in length.
    """
    declared, source = composition.inputs, composition.info.source
    if "prompt" in inputs and "prompt" not in declared:
        reads = ", ".join(f"--input {name}=VALUE" for name in declared) or "nothing but a seed"
        raise LdmError(f"the model '{source}' takes no prompt; it takes {reads}.")
    for name, one in declared.items():
        if one.required and name not in inputs:
            if name == "prompt":
                raise LdmError(
                    f"the model '{source}' draws from a prompt, and none is given.",
                    'as in ldm generate "a red circle"',
                )
            raise LdmError(f"the model '{source}' needs --input {name}=VALUE.")
    lengths = {n: len(v) for n, v in inputs.items() if n in declared and is_one_each(v)}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        counts = ", ".join(f"{length} of '{name}'" for name, length in lengths.items())
        raise LdmError(f"the inputs should be as many of each as images: there are {counts}.")
