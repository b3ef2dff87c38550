"""Inputs that have no part in a run, and are said to have none."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from ldm_core.contracts import NEGATIVE, Input, Request
from ldm_core.errors import LdmWarning


def warn_of_unasked(
    declared: Mapping[str, Input], request: Request, branches: Sequence[str]
) -> None:
    """Say which inputs have no part in a run because its guidance asks for no negative branch.

    Args:
        declared: the inputs that conditionings read, by name.
        branches: all that are asked for in the run.
    """
    if not branches or NEGATIVE in branches:
        return
    unasked = [
        name
        for name, values in request.inputs.items()
        if name.startswith(f"{NEGATIVE}_")
        and name in declared
        and any(value is not declared[name].default and not _is_empty(value) for value in values)
    ]
    if unasked:
        warnings.warn(
            f"the {' and '.join(unasked)} changes nothing: the guidance of this run asks the "
            "network for nothing to lead away from; one that does is 'classifier_free', with a "
            "scale above 1.",
            LdmWarning,
            stacklevel=2,
        )


def _is_empty(value: Any) -> bool:
    return isinstance(value, str) and not value.strip()
