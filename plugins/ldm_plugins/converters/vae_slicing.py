"""Pictures of a batch decoded one after the other."""

from __future__ import annotations

from typing import Any

from ldm_core.contracts import Converter, ModelInfo, Part, Phase, PlaceNames
from ldm_plugins.converters.shared.decoding import check_has_pieces, switched

NAME = "vae_slicing"


def vae_slicing() -> Converter:
    """Encode and decode the pictures of a batch one after the other, in the memory of one.

    What is drawn is the same. It is Diffusers' ``enable_slicing``, on a copy of the autoencoder
    that shares its weights.
    """
    return VaeSlicing()


class VaeSlicing(Converter):
    """Sets the switch on a copy of the autoencoder."""

    phase = Phase.COMPILE
    lossless = True

    def fit(self, info: ModelInfo, place: PlaceNames) -> Converter:
        check_has_pieces(info, NAME)
        return self

    def part(self, part: Part) -> Part:
        return switched(part, NAME, _slice)


def _slice(autoencoder: Any) -> None:
    autoencoder.enable_slicing()
