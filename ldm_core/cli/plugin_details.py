"""One plugin in full: what it does, its options, and what a conditioning reads."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import typer

from ldm_core.cli.inputs import flags_of
from ldm_core.cli.tables import print_table
from ldm_core.cli.words import without_marks
from ldm_core.composition.parts import make
from ldm_core.contracts import Conditioning, Input
from ldm_core.plugins.options import REQUIRED, Option, described
from ldm_core.plugins.registry import Plugin, installed
from ldm_core.plugins.schemas import inputs_schema, options_schema


def print_plugin(plugin: Plugin) -> None:
    """Print what a plugin does, its options, and what it reads."""
    typer.echo(f"{plugin.kind} {plugin.id} {plugin.version}\n\n{without_marks(plugin.doc)}\n")
    rows = [
        (option.name, option.type_name, _default(option), without_marks(option.help))
        for option in plugin.options.values()
    ]
    if rows:
        print_table(("option", "type", "default", "what it sets"), rows)
    if plugin.kind == "conditioning":
        typer.echo("", nl=bool(rows))
        _print_inputs(plugin)


def inputs_of(plugin: Plugin) -> Mapping[str, Input] | None:
    """What a conditioning reads before it is fitted to a model, by name; None where that depends
    on options that have no default.

    A class that has a mapping as its ``inputs`` says it without any option, where it is the
    plugin's target or the return annotation of that.
    """
    if (declared := _inputs_of_class(plugin.loaded)) is not None:
        return declared
    if any(option.default is REQUIRED for option in plugin.options.values()):
        return None
    part: Conditioning = make(plugin.kind, {"name": plugin.id}, installed(), [], {})
    return part.inputs


def _inputs_of_class(target: Any) -> Mapping[str, Input] | None:
    cls = target
    if not inspect.isclass(target):
        try:
            cls = inspect.get_annotations(described(target), eval_str=True).get("return")
        except NameError:  # a name that only type checkers import
            return None
    if not (inspect.isclass(cls) and issubclass(cls, Conditioning)):
        return None
    declared: Any = cls.inputs
    return declared if isinstance(declared, Mapping) else None


def _print_inputs(plugin: Plugin) -> None:
    inputs = inputs_of(plugin)
    if inputs is None:
        typer.echo("What it reads depends on its options; `ldm explain` shows it.")
    elif inputs:
        rows = [
            (
                flag,
                input_type(one),
                "(required)" if one.required else str(one.default),
                "each image" if one.each else "all images",
                one.help,
            )
            for flag, one in zip(flags_of(inputs), inputs.values(), strict=True)
        ]
        print_table(("input", "type", "default", "one for", "what it says"), rows)


def input_type(one: Input) -> str:
    """The type of an input as a person would write it."""
    return Option("", one.type, one.default, one.help).type_name


def describe_plugin(plugin: Plugin) -> dict[str, object]:
    """The same as JSON has it."""
    reads: dict[str, object] = {}
    if plugin.kind == "conditioning":
        inputs = inputs_of(plugin)
        reads["inputs"] = None if inputs is None else _describe_inputs(inputs)
        reads["inputs_schema"] = None if inputs is None else inputs_schema(inputs, plugin.id)
    return {
        "kind": plugin.kind,
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "doc": plugin.doc,
        "options": [
            {
                "name": option.name,
                "type": option.type_name,
                "required": option.default is REQUIRED,
                "default": None if option.default is REQUIRED else _default(option),
                "help": option.help,
            }
            for option in plugin.options.values()
        ],
        "options_schema": options_schema(plugin),
        **reads,
    }


def _describe_inputs(inputs: Mapping[str, Input]) -> list[dict[str, object]]:
    return [
        {
            "flag": flag,
            "name": name,
            "type": input_type(one),
            "required": one.required,
            "default": None if one.required else one.default,
            "each": one.each,
            "help": one.help,
        }
        for flag, (name, one) in zip(flags_of(inputs), inputs.items(), strict=True)
    ]


def _default(option: Option) -> str:
    return "(required)" if option.default is REQUIRED else str(option.default)
