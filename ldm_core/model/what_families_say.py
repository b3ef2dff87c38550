"""What another package's family says of a model, seen to be something that can be drawn with; ours
are tested."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ldm_core.contracts import Family, Model, ModelInfo, Part, Place
from ldm_core.errors import LdmError, PartError
from ldm_core.numerics.point import Point
from ldm_core.values import brief

OF_PERSONS = frozenset({"model", "model_config", "components", "plugins"})
"""Keys of a recipe by which a person says which model, and which plugins are imported."""
COLOURS = (1, 3)
"""Channels of a picture: grey, or red, green and blue."""


def check_info(info: ModelInfo, part: Family) -> None:
    """See that what a family says of a model goes together, as far as no weight has to be read.

    Raises:
        PartError: it does not.
    """
    if odd := OF_PERSONS & info.defaults.keys():
        raise PartError(part, f"its defaults say {', '.join(sorted(odd))}, as a person alone does.")
    extent, latents = info.default_extent, info.latents
    try:
        latents.check(extent, extent)
    except LdmError as error:
        raise PartError(part, f"its default_extent does not suit its latents: {error}") from error
    shape: Any = latents.shape(extent)
    if not isinstance(shape, tuple) or not all(isinstance(n, int) and n > 0 for n in shape):
        raise PartError(part, f"a latent has a shape of whole numbers, not {brief(shape)}.")
    if info.image_channels not in COLOURS:
        said = f"its image_channels {brief(info.image_channels)}"
        raise PartError(part, f"a picture has 1 channel (grey) or 3, and {said}.")
    schedule = info.noise_schedule
    for t in (schedule.first, schedule.last):
        point: Any = schedule.at(t)
        if not isinstance(point, Point):
            raise PartError(part, f"a noise schedule gives Points, and its gave {brief(point)}.")
        if not all(map(math.isfinite, (point.alpha, point.sigma, point.t))):
            raise PartError(part, f"the points of its noise schedule are not finite: {point}.")


def checked(model: Model, part: Family) -> Model:
    """A model that a family loaded, once it is seen that it can be computed.

    Raises:
        PartError: it is not.
    """
    check_model(model, part)
    return replace(model, abilities=_Abilities(model.abilities, part))


def check_model(model: Model, part: Any) -> None:
    """See that a model can be computed, as another package's part gave or left it.

    Raises:
        PartError: it cannot.
    """
    for name, value, kind in (
        ("info", model.info, ModelInfo),
        ("abilities", model.abilities, Mapping),
        ("place", model.place, Place),
        ("normalisation", model.normalisation, Mapping),
        ("parts", model.parts, Mapping),
    ):
        if not isinstance(value, kind):
            words = f"a Model's {name} is a {kind.__name__}"
            raise PartError(part, f"{words}, and it gave {brief(value)}.")
    if not callable(model.network):
        raise PartError(part, f"a Model's network is called, and it gave {brief(model.network)}.")
    for name, one in model.parts.items():
        if not isinstance(one, Part) or one.module is None:
            gone = one.module if isinstance(one, Part) else one
            words = "a Model's parts are each a Part with a module"
            raise PartError(part, f"{words}, and '{name}' is {brief(gone)}.")
        if one.device.type == "meta" or not one.dtype.is_floating_point:
            kind_of = str(one.dtype).removeprefix("torch.")
            words = f"a part computes on a device in floating point, and '{name}' would"
            raise PartError(part, f"{words} on '{one.device}' in {kind_of}.")


class _Abilities(dict[str, Any]):
    """The abilities of a model, of which one that is missing is its family's failure: a
    conditioning asks for no other than what the family says that there is."""

    def __init__(self, abilities: Mapping[str, Any], part: Family) -> None:
        super().__init__(abilities)
        self._part = part

    def __missing__(self, name: str) -> Any:
        words = f"it says that its network can be conditioned by '{name}'"
        raise PartError(self._part, f"{words}, and loads a Model without the ability of that name.")
