"""Options of plugins and inputs of conditionings as JSON schemas, from which forms are made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core.plugins.options import REQUIRED, Option
from ldm_core.values import json_schema

if TYPE_CHECKING:
    from ldm_core.contracts import Input
    from ldm_core.plugins.registry import Plugin

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def options_schema(plugin: Plugin) -> dict[str, Any]:
    """What may be set of a plugin, as a JSON schema of the table of its options in a recipe.

    An option that takes another plugin has ``kind`` beside what it may be: the name of one, or a
    table with ``name`` and options.

    Args:
        plugin: as the registry gives it, such as ``installed().find("spacing", "karras")``.
    Returns:
        An object schema (draft 2020-12): for each option its type, bounds, choices, default and
        description; ``required`` names those without a default.
    Raises:
        LdmError: the plugin cannot be imported.
    """
    options = plugin.options
    properties = {name: option_schema(option) for name, option in options.items()}
    required = [name for name, option in options.items() if option.default is REQUIRED]
    return _object(plugin.id, plugin.summary, properties, required)


def inputs_schema(inputs: Mapping[str, Input], title: str = "inputs") -> dict[str, Any]:
    """What a person gives a model, as a JSON schema of the table of its inputs.

    Each is the schema of one image's value; ``each`` beside it says whether a list of such may give
    another to each image.

    Args:
        inputs: by name, such as ``composition.inputs``.
    """
    properties = {}
    for name, one in inputs.items():
        default = REQUIRED if one.required else one.default
        schema = option_schema(Option(name, one.type, default, one.help))
        properties[name] = {**schema, "each": one.each}
    required = [name for name, one in inputs.items() if one.required]
    return _object(title, "", properties, required)


def option_schema(option: Option) -> dict[str, Any]:
    """The schema of one option, see `options_schema`."""
    schema = _of_part(option) if option.kind else json_schema(option.annotation)
    if option.help:
        schema["description"] = option.help
    if option.default is not REQUIRED:
        schema["default"] = as_json(option.default)
    return schema


def _of_part(option: Option) -> dict[str, Any]:
    name = {"type": "string"}
    if option.kind == "model":
        one: dict[str, Any] = name
    else:
        table = {"type": "object", "properties": {"name": name}, "required": ["name"]}
        one = {"anyOf": [name, table]}
    whole = {"type": "array", "items": one} if option.several else one
    if option.default is None:
        whole = {"anyOf": [*whole.get("anyOf", [whole]), {"type": "null"}]}
    return {**whole, "kind": option.kind}


def as_json(value: Any) -> Any:
    """A value as JSON has it; of what it has no word for, the text."""
    if isinstance(value, Mapping):
        return {str(key): as_json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(entry) for entry in value]
    if isinstance(value, Path):
        return str(value)
    finite = isinstance(value, float) and abs(value) < float("inf")
    return value if value is None or isinstance(value, str | bool | int) or finite else str(value)


def _object(
    title: str, description: str, properties: dict[str, Any], required: list[str]
) -> dict[str, Any]:
    return {
        "$schema": DRAFT,
        "title": title,
        **({"description": description} if description else {}),
        "type": "object",
        "properties": properties,
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }
