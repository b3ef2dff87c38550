"""Keeping a part of what is made as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ldm_core.contracts import Denoise, Run, RunHooks
from ldm_core.numerics.point import Point
from ldm_plugins.conditioning.shared.strength import add_noise, noised

if TYPE_CHECKING:
    from torch import Tensor


class Blend(RunHooks):
    """Keeps data where its mask is 0, whatever the scheduler does there.

    Where a mask is grey, x follows estimates that are a share of both, and so is nothing but
    itself.

    Args:
        data: (batch, channels, ...) in [-1, 1], as the encoder takes it.
        share: ``share(x0)``, how much of each latent is made anew, from 0 to 1, of a shape that
            spreads to the latents' (batch, channels, ...).
        whole: x starts as noise; else it starts from the data.
    """

    def __init__(
        self, run: Run, data: Tensor, share: Callable[[Tensor], Tensor], whole: bool
    ) -> None:
        self._run = run
        self._x0 = run.to_latents(data)
        self._noise = run.noise()
        run.noise()  # Diffusers' pipelines encode the masked picture next, which draws once
        self._share = share(self._x0)
        self._black = self._share == 0
        self._whole = whole

    def start(self) -> Tensor:
        if self._whole:
            return self._noise * self._run.initial_scale
        return noised(self._run, self._x0, lambda: self._noise)

    def denoise(self, denoise: Denoise) -> Denoise:
        first = self._run.grid[0]

        def blend(x: Tensor, point: Point) -> Tensor:
            import torch

            # At the first point of the whole way x is noise alone, as a model expects it there.
            if not (self._whole and point == first):
                x = torch.where(self._black, add_noise(self._x0, self._noise, point), x)
            return torch.lerp(self._x0, denoise(x, point), self._share)

        return blend

    def finish(self, x: Tensor) -> Tensor:
        import torch

        return torch.where(self._black, self._x0, x)
