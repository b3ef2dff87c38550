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
WHOLE = {
    *("AsymmetricAutoencoderKL", "AutoencoderKLTemporalDecoder", "AutoencoderSAME"),
    "ConsistencyDecoderVAE",
}
"""Diffusers' autoencoders whose decoders have no switch for pieces."""
TINY = "AutoencoderTiny"
PLAIN = ("AutoencoderKL", TINY)
"""Those whose latents a tiny one decodes as it is asked to."""
SIDES = ("height", "width")


def check_has_pieces(info: ModelInfo, name: str) -> None:
    """See that a model's autoencoder is of a kind that works in pieces; reads no weights.

    Raises:
        LdmError: it is not, or the model has none.
    """
    classes = [entry[1] for entry in read_index(info.folder).values() if isinstance(entry, list)]
    pieces = [cls for cls in map(str, classes) if cls.startswith("Autoencoder") or cls in WHOLE]
    if not pieces or {*pieces} & WHOLE:
        others = [cls for cls in map(str, classes) if "VQ" in cls or cls in WHOLE]
        has = f"its {others[0]} decodes whole pictures alone" if others else "it draws pixels"
        raise _misfit(info, name, has)


def check_has_sides(info: ModelInfo, name: str) -> None:
    """See that a model's latents have rows and columns, which tiles are made of.

    Raises:
        LdmError: they have not.
    """
    if not {*SIDES} <= {*info.latents.names}:
        raise _misfit(info, name, "it draws neither pictures nor videos")


def check_is_plain(info: ModelInfo, name: str) -> None:
    """See that a model's latents are those of pictures and of an autoencoder whose latents another
    class decodes too; reads no weights.

    Raises:
        LdmError: they are not.
    """
    if {*info.latents.names} != {*SIDES}:
        raise _misfit(info, name, f"a {TINY} decodes pictures, and it draws none")
    classes = [str(part.cls) for part in info.parts if part.role == "autoencoder"]
    others = [cls for cls in classes if cls not in PLAIN]
    if others:
        raise _misfit(info, name, f"a {TINY} does not take the latents of its {others[0]}")


def _misfit(info: ModelInfo, name: str, why: str) -> LdmError:
    return LdmError(
        f"the converter '{name}' does not fit the model '{info.source}' (family {info.family}): "
        f"{why}."
    )


def whole_alone(cls: str) -> LdmError:
    """Why an autoencoder of a class does not work in pieces."""
    return LdmError(f"the class {cls} decodes whole pictures alone; leave slices and tiles out.")


def switched(part: Part, name: str, switch: Callable[[Any], None]) -> Part:
    """An autoencoder with a switch of Diffusers set, as a copy; another part as it is.

    Raises:
        LdmError: its class has no such switch.
    """
    if part.role not in ROLES:
        return part
    cls = type(part.module).__name__
    if cls in WHOLE:
        raise whole_alone(cls)
    module: Any = shallow_copy(part.module)
    try:
        switch(module)
    except NotImplementedError as error:
        raise LdmError(f"the converter '{name}' does not fit the model: {error}") from None
    return replace(part, module=module)
