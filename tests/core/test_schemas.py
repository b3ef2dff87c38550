"""Options and inputs as JSON schemas, held against what the options take."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from ldm_core.contracts import Input, Scheduler
from ldm_core.contracts.conditioning import REQUIRED
from ldm_core.errors import LdmError
from ldm_core.plugins.hookspecs import KINDS
from ldm_core.plugins.options import read_options
from ldm_core.plugins.registry import installed
from ldm_core.plugins.schemas import inputs_schema, option_schema, options_schema
from ldm_core.values import fitted

TYPES = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "array": list,
    "object": Mapping,
    "null": type(None),
}


def accepts(schema: Mapping[str, Any], value: Any) -> bool:
    """Whether a value is as a schema says, read as the draft has it."""
    if "anyOf" in schema:
        return any(accepts(one, value) for one in schema["anyOf"])
    if isinstance(value, bool) and schema.get("type", "boolean") != "boolean":
        return False
    if "type" in schema and not isinstance(value, TYPES[schema["type"]]):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "const" in schema and value != schema["const"]:
        return False
    if isinstance(value, list):
        items = schema.get("items", {})
        within = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 999)
        return within and all(accepts(items, entry) for entry in value)
    if isinstance(value, int | float):
        return (
            schema.get("minimum", value) <= value <= schema.get("maximum", value)
            and schema.get("exclusiveMinimum", value - 1) < value
            and schema.get("exclusiveMaximum", value + 1) > value
        )
    return True


def plugin_of_all_kinds_of_options(
    *,
    inner: Scheduler,
    beside: list[Scheduler] | None = None,
    strength: Annotated[float, Field(ge=0, lt=1)] = 0.5,
    layers: Annotated[list[int], Field(min_length=1, max_length=3)] | None = None,
    mode: Literal["slow", "fast"] = "fast",
    file: Path | None = None,
    exact: bool = False,
) -> None:
    """It does nothing.

    Args:
        strength: how much of it.
    """


def test_the_schema_of_each_kind_of_option_is_what_the_draft_says() -> None:
    options = read_options(plugin_of_all_kinds_of_options)
    schemas = {name: option_schema(option) for name, option in options.items()}
    name = {"type": "string"}
    table = {"type": "object", "properties": {"name": name}, "required": ["name"]}
    one = {"anyOf": [name, table]}
    null = {"type": "null"}
    assert schemas == {
        "inner": {**one, "kind": "scheduler"},
        "beside": {
            "anyOf": [{"type": "array", "items": one}, null],
            "kind": "scheduler",
            "default": None,
        },
        "strength": {
            "type": "number",
            "minimum": 0,
            "exclusiveMaximum": 1,
            "default": 0.5,
            "description": "how much of it.",
        },
        "layers": {
            "anyOf": [
                {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3},
                null,
            ],
            "default": None,
        },
        "mode": {"type": "string", "enum": ["slow", "fast"], "default": "fast"},
        "file": {"anyOf": [{"type": "string", "format": "path"}, null], "default": None},
        "exact": {"type": "boolean", "default": False},
    }


@pytest.mark.parametrize("kind", KINDS)
def test_of_each_plugin_the_schema_takes_what_its_options_take(kind: str) -> None:
    """Defaults fit, and of numbers near the bounds, words and lists both say the same."""
    tried = [-1, 0, 0.5, 1, 2, 101, "slow", None, [], [1], ["a"]]
    for plugin in installed().of_kind(kind):
        schema = json.loads(json.dumps(options_schema(plugin), allow_nan=False))
        assert list(schema["properties"]) == list(plugin.options)
        for name, option in plugin.options.items():
            one = schema["properties"][name]
            if "default" in one:
                assert accepts(one, one["default"]), (plugin.id, name)
            else:
                assert name in schema["required"]
            if option.kind is not None or "$comment" in one or "path" in str(one):
                continue
            for value in tried:
                try:
                    fits = fitted(option.annotation, value) == value
                except (LdmError, ValueError):
                    fits = False
                assert accepts(one, value) == fits, (plugin.id, name, value, one)


def test_inputs_say_which_must_be_given_and_which_each_image_may_have_of_its_own() -> None:
    inputs = {
        "prompt": Input(str, REQUIRED, help="what to draw"),
        "strength": Input(Annotated[float, Field(ge=0, le=1)], 0.8, each=False),
    }
    schema = inputs_schema(inputs, "a model")
    assert schema["required"] == ["prompt"]
    assert schema["properties"] == {
        "prompt": {"type": "string", "description": "what to draw", "each": True},
        "strength": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "default": 0.8,
            "each": False,
        },
    }
