"""The kind of noise that a recipe names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ldm_core.contracts import ModelInfo
from ldm_core.errors import LdmError, did_you_mean
from ldm_core.numerics.noise_kinds import NOISE_KINDS, NoiseKind
from ldm_core.values import brief, fitted

KEY = "noise"


def as_noise(value: Any) -> dict[str, Any]:
    """The choice of a kind of noise, by name or as a table, as a table with all its options, so
    that it means the same where another release has other defaults.

    Raises:
        LdmError: there is no such kind, or it has no such option or value.
    """
    table = {"name": value} if isinstance(value, str) else value
    if not isinstance(table, Mapping) or not isinstance(name := table.get("name"), str):
        raise LdmError(
            f"'{KEY}' should be the name of a kind of noise, or a table with one, not "
            f"{brief(value)}.",
            f"There are {', '.join(NOISE_KINDS)}.",
        )
    if name not in NOISE_KINDS:
        raise LdmError(
            f"there is no kind of noise named {brief(name)}.{did_you_mean(name, NOISE_KINDS)}",
            f"There are {', '.join(NOISE_KINDS)}.",
        )
    kind = NOISE_KINDS[name]
    options = asdict(kind())
    for option, setting in table.items():
        if option == "name":
            continue
        if option not in options:
            has = f"It has: {', '.join(options)}." if options else "It has none."
            raise LdmError(
                f"the noise '{name}' has no option {brief(option)}."
                f"{did_you_mean(str(option), options)} {has}"
            )
        try:
            options[option] = fitted(float, setting, text=True)
            kind(**{option: options[option]})
        except ValueError as error:
            raise LdmError(f"the noise '{name}' cannot be so: {error}.") from None
    return {"name": name, **options}


def check_noise(recipe: Mapping[str, Any], info: ModelInfo) -> None:
    """See that the kind of noise that a recipe names can be drawn for a model.

    Raises:
        LdmError: places go together in it, and not every number of the latents lies at one.
    """
    if noise_kind(recipe) is not None:
        info.latents.check_one(f"the noise '{recipe[KEY]['name']}'", "'white' is for all models.")


def noise_kind(recipe: Mapping[str, Any]) -> NoiseKind | None:
    """What a recipe's noise is made by; None for white noise, as where it names none."""
    name, options = "white", {}
    if KEY in recipe:
        options = {**recipe[KEY]}
        name = options.pop("name")
    return None if name == "white" else NOISE_KINDS[name](**options)
