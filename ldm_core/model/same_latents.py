"""Whether the latents of one model are latents of another."""

from __future__ import annotations

import math

from ldm_core.contracts import Extent, Model
from ldm_core.errors import LdmError
from ldm_core.numerics.noise_schedule import NoiseSchedule


def check_same_latents(one: Model, other: Model) -> None:
    """Raise `LdmError` where the latents of one model would be something else to the other."""
    names = f"'{one.info.source}' and '{other.info.source}'"
    extent = one.info.default_extent
    here, there = (
        {"axes": m.info.latents.names, **_shape(m, extent), **m.normalisation} for m in (one, other)
    )
    for key in here.keys() | there.keys():
        if here.get(key) != there.get(key):
            raise LdmError(
                f"the models {names} have different latents ({key} {here.get(key)} and "
                f"{there.get(key)}); a chain needs models that share an autoencoder."
            )
    if not _same_path(one.info.noise_schedule, other.info.noise_schedule):
        raise LdmError(
            f"the models {names} have different noise schedules; a chain needs models that were "
            "trained on the same one."
        )


def _shape(model: Model, extent: Extent) -> dict[str, tuple[int, ...]]:
    """The shape of a latent of this extent, where the model has all of its axes."""
    latents = model.info.latents
    return {"shape": latents.shape(extent)} if {*latents.names} <= {*extent} else {}


def _same_path(one: NoiseSchedule, other: NoiseSchedule) -> bool:
    if (one.first, one.last) != (other.first, other.last):
        return False
    times = [one.first + (one.last - one.first) * i / 16 for i in range(17)]
    pairs = [(one.at(t), other.at(t)) for t in times]
    return all(
        math.isclose(a.alpha, b.alpha, rel_tol=1e-5, abs_tol=1e-7)
        and math.isclose(a.sigma, b.sigma, rel_tol=1e-5, abs_tol=1e-7)
        for a, b in pairs
    )
