"""Parts as they are for one model, seen to be what they say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ldm_core.composition.parts import EDGES
from ldm_core.contracts import Conditioning, Input, ModelInfo, PlaceNames, Record
from ldm_core.errors import LdmError, PartError
from ldm_core.plugins.owners import Owners
from ldm_core.values import brief

BESIDE = "while it was seen beside the other parts"


def fitted(kind: str, part: Any, *, info: ModelInfo, place: PlaceNames, owners: Owners) -> Any:
    """The part for a model, of whichever kind it is, which is still of its kind.

    Raises:
        LdmError: it does not fit.
        PluginError: another package's plugin fails, or gives something else.
    """
    if kind == "family":
        return part
    with owners.blamed(part, "while it was fitted to the model"):
        if isinstance(part, Record):
            made: Any = part.fitted(info)
        elif kind == "converter":
            made = part.fit(info, place)
        else:
            made = part.fit(info)
        try:
            made = EDGES[kind](made)
        except LdmError:
            raise PartError(
                part, f"fitted to a model a {kind} is a {kind}, not {brief(made)}."
            ) from None
    owners.passes_to(part, made)
    return made


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
