"""What conditionings draw while they encode: the same for every branch of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ldm_core.contracts import Run

if TYPE_CHECKING:
    from torch import Tensor


class Draws:
    """Noise and latents that were drawn while one branch was encoded, for those that are encoded
    after it: else each would see, say, another sample of the picture that it is to go on with, and
    the noise of all that comes later would depend on how many branches there are."""

    def __init__(self) -> None:
        self._noises: list[Tensor] = []
        self._latents: list[tuple[Tensor, Tensor]] = []

    def of(self, run: Run) -> Run:
        """The run as it is encoded once more: what it draws is what was drawn before, in the same
        order, and then goes on."""
        noises, latents = 0, 0

        def noise() -> Tensor:
            nonlocal noises
            noises += 1
            if noises > len(self._noises):
                self._noises.append(run.noise())
                return self._noises[-1]
            return self._noises[noises - 1].clone()

        def to_latents(data: Tensor) -> Tensor:
            nonlocal latents
            latents += 1
            if latents <= len(self._latents):
                before, encoded = self._latents[latents - 1]
                if before.shape == data.shape and before.equal(data):
                    return encoded.clone()
                return run.to_latents(data)
            self._latents.append((data, run.to_latents(data)))
            return self._latents[-1][1]

        return replace(run, noise=noise, to_latents=to_latents)
