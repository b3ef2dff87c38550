"""Guidances that weigh the numbers of a latent against each other."""

from __future__ import annotations

from ldm_core.contracts import ModelInfo


def check_one_medium(info: ModelInfo, what: str, otherwise: str = "") -> None:
    """See that the latents are of one medium, of which alone lengths, spreads and places mean
    something.

    Args:
        what: weighs them against each other, such as "the guidance 'renormed'".
        otherwise: what else can be done, behind a semicolon.
    Raises:
        LdmError: they are of several.
    """
    hint = f"The guidance 'multimodal' has scales of its own for each{otherwise}."
    info.latents.check_one(what, hint)


def check_rescale(info: ModelInfo, rescale: float) -> None:
    """As `check_one_medium`, of a spread that is brought back in each image, where it is."""
    if rescale:
        check_one_medium(info, "a guidance's rescale", "; or leave rescale at 0")
