"""Inputs as a manifest holds them, seen to be what the conditionings read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError

from ldm_core.composition.composition import Composition
from ldm_core.errors import LdmError
from ldm_core.values import type_name

FREE = ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False)


def check_saved_inputs(composition: Composition, inputs: Mapping[str, Any]) -> None:
    """See that each input has the type that its conditioning declares.

    Args:
        inputs: by name, of one image, as JSON holds them.
    Raises:
        LdmError: one has another.
    """
    for name, declared in composition.inputs.items():
        value = inputs.get(name)
        if value is None and name in inputs and declared.required:
            raise LdmError(f"the manifest is damaged: inputs.{name} is empty.")
        if value is None or value == declared.default:
            continue
        try:
            TypeAdapter[Any](declared.type, config=FREE).validate_python(value)
        except PydanticSchemaGenerationError:  # a type that only its conditioning understands
            continue
        except ValidationError as error:
            reason = error.errors(include_url=False, include_input=False)[0]["msg"]
            raise LdmError(
                f"the manifest is damaged: inputs.{name} should be {type_name(declared.type)}: "
                f"{reason}."
            ) from None
