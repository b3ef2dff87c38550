"""Noise for decoders that take the last step of denoising."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ldm_core.contracts import Conditioning, Run, RunHooks
from ldm_core.contracts.abilities import DecodeNoiseAbility

if TYPE_CHECKING:
    from torch import Tensor


def decode_noise(*, scale: Annotated[float, Field(ge=0, le=1)] = 0.025) -> Conditioning:
    """Mix a little noise, drawn from each image's seed, into the final latents, for decoders that
    were trained to take the last step of denoising themselves, as those of LTX-Video from 0.9.1 on
    (HaCohen et al. 2024, arXiv:2501.00103, Section 2.2). What the decoder is told of it is its own
    option ``timestep``, such as 0.05.

    Args:
        scale: share of the noise in what the autoencoder calls its latents, before they are
            normalised; 0 is none.
    """
    return DecodeNoise(scale)


@dataclass(frozen=True)
class DecodeNoise(Conditioning):
    scale: float

    @property
    def ability(self) -> str:
        return "decode_noise"

    def bind(self, run: Run) -> RunHooks:
        return Mixed(run, self.scale)


class Mixed(RunHooks):
    """Final latents with noise in them."""

    def __init__(self, run: Run, scale: float) -> None:
        self._run = run
        self._scale = scale

    def finish(self, x: Tensor) -> Tensor:
        if not self._scale:
            return x
        ability: DecodeNoiseAbility = self._run.model.abilities["decode_noise"]
        return ability.mix(x, self._run.noise(), self._scale)
