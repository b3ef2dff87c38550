"""Parts as they are for one model, seen to be what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ldm_core.composition.composition import OF_A_CALL
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


def check_conditioning(conditioning: Sequence[Conditioning], info: ModelInfo) -> None:
    """See that the conditionings fit the model and each other.

    Raises:
        LdmError: they do not.
    """
    abilities: dict[str, int] = {}
    for part in conditioning:
        if part.ability is None:
            continue
        if part.ability not in info.abilities:
            raise LdmError(
                f"the model '{info.source}' (family {info.family}) cannot be conditioned by "
                f"'{part.ability}'; it has: {', '.join(sorted(info.abilities)) or 'none'}."
            )
        abilities[part.ability] = abilities.get(part.ability, 0) + 1
    for ability, count in abilities.items():
        if count > 1:
            raise LdmError(
                f"{count} conditionings give the network its '{ability}', and each would undo the "
                "other; leave one out."
            )
    for need in sorted(info.needs - abilities.keys()):
        raise LdmError(
            f"the model '{info.source}' must be conditioned by '{need}', and the recipe's "
            "conditioning has none that does it.",
            "`ldm plugins list --kind conditioning` shows those there are.",
        )
    inputs: dict[str, Any] = {}
    for part in conditioning:
        for name, declared in part.inputs.items():
            if name in OF_A_CALL or name in info.latents.names:
                raise LdmError(
                    f"a conditioning reads an input named '{name}', which is an argument of every "
                    "call; it needs another name."
                )
            if name in inputs and not declared.same_as(inputs[name]):
                raise LdmError(
                    f"two conditionings read the input '{name}' and mean different things by it "
                    f"(default {inputs[name].default!r} and {declared.default!r}); leave one out."
                )
            inputs[name] = declared
