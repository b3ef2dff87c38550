"""Weights where they compute, all the time."""

from __future__ import annotations

from typing import ClassVar

from ldm_core.contracts import Converter, Model, Part
from ldm_plugins.converters.shared.placement import Place, Placement


def whole(*, parts: list[str] | None = None) -> Converter:
    """Keep weights on the device, as is done where no placement is chosen.

    Beside other placements it says which parts are not offloaded.

    Args:
        parts: names of the model's components, or roles: network, autoencoder, text, side; all
            where left out.
    """
    return Whole(chosen=None if parts is None else tuple(parts))


class Whole(Placement):
    """Leaves the weights that it acts on where the part computes."""

    name: ClassVar[str] = "whole"
    offloads: ClassVar[bool] = False

    def convert(self, model: Model) -> Model:
        self.check_parts(model.info.source, model.parts)
        return model

    def begin(self, model: Model) -> Place:
        def stay(part: Part) -> Part:
            return part

        return stay
