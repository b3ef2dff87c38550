"""Parts as they are for one model, seen to be what they say."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ldm_core.composition.composition import OF_A_CALL
from ldm_core.composition.parts import EDGES
from ldm_core.contracts import (
    Conditioning,
    Converter,
    Input,
    ModelInfo,
    Phase,
    PlaceNames,
    Record,
)
from ldm_core.contracts.files import is_there
from ldm_core.errors import LdmError, PartError
from ldm_core.plugins.owners import Owners
from ldm_core.values import brief

INPUT = re.compile("[A-Za-z][A-Za-z0-9_]*")
"""Names of inputs, which become flags beside those of others: of letters that cannot be taken for
others, as those of another alphabet can."""
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
        if not owners.is_ours(part):
            check_said(kind, part, made)
    owners.passes_to(part, made)
    return made


def check_said(kind: str, part: Any, made: Any) -> None:
    """See that what a part says of itself is of its types; ours are tested.

    Args:
        part: whose it is.
        made: as it is fitted.
    Raises:
        PartError: it is not.
    """
    if kind == "converter":
        _check_converter(part, made)
    elif kind == "guidance":
        scale, neutral = made.embedded_scale, made.neutral
        if not (scale is None or _is_number(scale)):
            words = "a guidance's embedded_scale is a number or None"
            raise PartError(part, f"{words}, and it gave {brief(scale)}.")
        if not (neutral is None or isinstance(neutral, Mapping)):
            words = "a guidance's neutral is a table of options or None"
            raise PartError(part, f"{words}, and it gave {brief(neutral)}.")
    elif kind != "conditioning":
        return
    files = made.files()
    if isinstance(files, str | bytes) or not isinstance(files, Collection):
        raise PartError(part, f"the files of a {kind} are a list of Path, not {brief(files)}.")
    for file in files:
        if not isinstance(file, Path):
            words = f"the files of a {kind} are a list of Path"
            raise PartError(part, f"{words}, and it gave {brief(file)} among them.")
        if not is_there(file):
            raise PartError(part, f"it says that it reads '{file}', which is not there.")
        if not (file.is_file() or file.is_dir()):  # a pipe or device may have no end
            raise PartError(part, f"it says that it reads '{file}', which is no file or folder.")


def _check_converter(part: Any, made: Converter) -> None:
    try:
        phase, lossless = made.phase, made.lossless
    except AttributeError as error:
        raise PartError(
            part, f"a converter has a phase, and says whether it is lossless: {error}."
        ) from error
    if not isinstance(phase, Phase):
        words = "a converter's phase is one of ldm_core.contracts.Phase"
        raise PartError(part, f"{words}, not {brief(phase)}.")
    truths = {
        "lossless": lossless,
        "whole_program": made.whole_program,
        "plain": made.plain,
        "by_table": made.by_table,
    }
    for name, value in truths.items():
        if not isinstance(value, bool):
            raise PartError(part, f"a converter's {name} is True or False, not {brief(value)}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


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
        for name in inputs:
            if not isinstance(name, str) or INPUT.fullmatch(name) is None or name == "self":
                what = "the name of an input is a word of letters (a to z), digits and '_'"
                raise PartError(part, f"{what} that begins with a letter, not {brief(name)}.")


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
                raise PartError(
                    part,
                    f"a conditioning reads an input named '{name}', which is an argument of every "
                    "call; it needs another name.",
                )
            if name in inputs and not declared.same_as(inputs[name]):
                raise PartError(
                    part,
                    f"two conditionings read the input '{name}' and mean different things by it "
                    f"(default {brief(inputs[name].default)} and {brief(declared.default)}); leave "
                    "one out.",
                )
            inputs[name] = declared
