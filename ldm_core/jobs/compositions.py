"""The compositions of a job: its own, with what a line chooses laid over it."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from ldm_core.composition.compose import OF_WEIGHTS, compose, recompose
from ldm_core.composition.composition import Composition
from ldm_core.composition.parts import same_plugin
from ldm_core.composition.recipe import Layer, lay

OF_CONVERSION = ("loras", "converters")
"""Keys of a recipe that act on weights which are read."""
KEPT = 8
"""So many compositions are kept, for lines that follow one another."""


def split(choices: Layer) -> tuple[Layer, Layer]:
    """What belongs to the weights, and the rest."""
    weights = {key: value for key, value in choices.items() if key in OF_WEIGHTS}
    return weights, {key: value for key, value in choices.items() if key not in weights}


def conversion(choices: Layer) -> Layer:
    """What makes another model of a model's weights."""
    return {key: value for key, value in choices.items() if key in OF_CONVERSION}


def key_of(choices: Mapping[str, Any]) -> str:
    """What is the same for the same choices."""
    return json.dumps(choices, sort_keys=True, default=str) if choices else ""


class Compositions:
    """
    Args:
        base: of the job's own choices.
        layer: those choices.
    """

    def __init__(self, base: Composition, layer: Mapping[str, Any]) -> None:
        self.base = base
        self._layer = dict(layer)
        self._kept: OrderedDict[str, Composition] = OrderedDict()

    def of(self, choices: Layer) -> Composition:
        """The composition of a line's choices.

        Raises:
            LdmError: they do not go together.
        """
        weights, rest = split(choices)
        below = self._keep(weights) if weights else self.base
        return self._keep(choices, below) if rest else below

    def _keep(self, choices: Layer, below: Composition | None = None) -> Composition:
        key = key_of(choices)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        if below is None:
            registry = self.base.registry
            made = compose(lay(self._layer, choices, same_plugin(registry)), registry)
        else:
            made = recompose(below, split(choices)[1])
        self._kept[key] = made
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return made
