"""Parts as they are for one model, seen to be what they say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ldm_core.contracts import Conditioning, Converter, Guidance, Input, Scheduler
from ldm_core.errors import PartError
from ldm_core.plugins.owners import Owners
from ldm_core.values import brief

FITTED = (Scheduler, Guidance, Conditioning, Converter)
"""Kinds of parts that are fitted to a model."""
BESIDE = "while it was seen beside the other parts"


def fitted(parts: Sequence[Any], fit: Callable[[Any], Any], owners: Owners) -> list[Any]:
    """Parts as they are for a model, each of which is still of its kind.

    Raises:
        LdmError: one does not fit.
        PluginError: another package's plugin fails, or gives something else.
    """
    several: list[Any] = []
    for part in parts:
        kind = next(kind for kind in FITTED if isinstance(part, kind))
        with owners.blamed(part, "while it was fitted to the model"):
            made = fit(part)
            if not isinstance(made, kind):
                name = kind.__name__
                raise PartError(part, f"fitted to a model a {name} is a {name}, not {brief(made)}.")
        owners.passes_to(part, made)
        several.append(made)
    return several


def check_inputs(part: Conditioning, owners: Owners) -> None:
    """See that what a conditioning says of itself is of its types.

    Raises:
        PartError: it is not; a `PluginError` of another package's.
    """
    with owners.blamed(part, BESIDE):
        inputs, ability = part.inputs, part.ability
        if not (ability is None or isinstance(ability, str)):
            raise PartError(part, f"a conditioning's ability is a word, not {brief(ability)}.")
        table = isinstance(inputs, Mapping)
        if not table or not all(isinstance(one, Input) for one in inputs.values()):
            what = "a conditioning's inputs are a table of Input"
            raise PartError(part, f"{what}, not {brief(inputs)}.")
