"""Autoencoders that decode in pieces: a copy with its own switches around the same weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ldm_core.contracts import ModelInfo, Part
from ldm_core.errors import LdmError
from ldm_core.model.files import read_index
from ldm_core.model.modules import shallow_copy

ROLES = ("autoencoder", "decoder")


def check_has_pieces(info: ModelInfo, name: str) -> None:
    """See that a model's autoencoder is of a kind that works in pieces; reads no weights.

    Raises:
        LdmError: it is not, or the model has none.
    """
    classes = [entry[1] for entry in read_index(info.folder).values() if isinstance(entry, list)]
    if not any(str(cls).startswith("Autoencoder") for cls in classes):
        others = [str(cls) for cls in classes if "VQ" in str(cls)]
        has = f"its {others[0]} decodes whole pictures alone" if others else "it draws pixels"
        raise LdmError(
            f"the converter '{name}' does not fit the model '{info.source}' (family "
            f"{info.family}): {has}."
        )


def switched(part: Part, name: str, switch: Callable[[Any], None]) -> Part:
    """An autoencoder with a switch of Diffusers set, as a copy; another part as it is.

    Raises:
        LdmError: its class has no such switch.
    """
    if part.role not in ROLES:
        return part
    module: Any = shallow_copy(part.module)
    try:
        switch(module)
    except NotImplementedError as error:
        raise LdmError(f"the converter '{name}' does not fit the model: {error}") from None
    return replace(part, module=module)
