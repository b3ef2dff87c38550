"""What a decoder that takes the last step of denoising itself is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ldm_core.contracts import Part
from ldm_core.errors import LdmError

if TYPE_CHECKING:
    from torch import Tensor

Timestep = Annotated[float, Field(ge=0, le=1)]


def with_timestep(part: Part, z: Tensor, timestep: float) -> tuple[Tensor, ...]:
    """What a decoder gets: the latents z (batch, ...) and, where it takes one, the timestep of
    each, (batch,).

    Raises:
        LdmError: it takes no timestep, and one is chosen.
    """
    if part.module.config.get("timestep_conditioning"):
        return z, z.new_full((len(z),), timestep)
    if timestep:
        raise LdmError(
            f"the decoder of this {type(part.module).__name__} takes no timestep, and "
            f"{timestep:g} was chosen.",
            "leave the decoder's option 'timestep' out.",
        )
    return (z,)
