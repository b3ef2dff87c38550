"""Inputs of a request, seen to be of the types that the conditionings declare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args

from ldm_core.contracts import Conditioning, Input, Request
from ldm_core.contracts.files import parts_of
from ldm_core.errors import LdmError
from ldm_core.values import brief, fitted, type_name


def check_types(part: Conditioning, request: Request) -> None:
    """See that a conditioning can use its inputs, each of the type that it declares.

    Raises:
        LdmError: it cannot; what it says itself of one goes first.
    """
    wrong = next(_of_another_type(part.inputs, request), None)
    try:
        part.check(request)
    except LdmError:
        raise
    except Exception as error:
        if wrong is None:
            raise
        raise LdmError(wrong) from error
    if wrong is not None:
        raise LdmError(wrong)


def _of_another_type(inputs: Mapping[str, Input], request: Request) -> Iterator[str]:
    """What is wrong with each value of another type than is declared, or out of its range; those of
    files, which may be pictures in memory, are left to their conditionings."""
    for name, one in inputs.items():
        if Path in parts_of(one.type):
            continue
        plainly = (one.type, *get_args(one.type))
        for value in request.inputs[name]:
            if type(value) in plainly or value is one.default:
                continue
            try:
                fitted(one.type, value)
            except ValueError as error:
                yield (
                    f"the input '{name}' should be {type_name(one.type)}, not {brief(value)}: "
                    f"{error}."
                )
