"""The network of `clouds`, in a module of its own: torch is imported when a model is loaded.

Its data is Gaussian, with a spectrum as clouds have it. So the best answer to a noisy picture is
known, and needs no training: each wave is scaled by how much of it is signal (Wiener 1949).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

SPREAD = 0.4
"""The standard deviation of a pixel."""


class CloudNetwork(nn.Module):
    """E[x0 | x]: the wave k of x times alpha·S(k) / (alpha²·S(k) + sigma²).

    Its one weight is the power by which the spectrum S falls.
    """

    def __init__(self) -> None:
        super().__init__()
        self.falloff = nn.Parameter(torch.tensor(3.0))

    def forward(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """x (rows, channels, height, width) float32; alpha and sigma (rows,)."""
        height, width = x.shape[-2:]
        power = spectrum(height, width, self.falloff.float())
        alpha, sigma = alpha.reshape(-1, 1, 1, 1), sigma.reshape(-1, 1, 1, 1)
        kept = alpha * power / (alpha**2 * power + sigma**2)
        x0: Tensor = torch.fft.irfft2(kept * torch.fft.rfft2(x), s=(height, width))
        return x0


def spectrum(height: int, width: int, falloff: Tensor) -> Tensor:
    """S(k), the variance of each wave, (height, width // 2 + 1), against 1 of noise."""
    down = torch.fft.fftfreq(height, device=falloff.device) * height
    across = torch.fft.rfftfreq(width, device=falloff.device) * width
    power = torch.hypot(down[:, None], across).clamp(min=1.0) ** -falloff
    twice = torch.full_like(across, 2.0)  # the waves that rfft2 leaves out
    twice[0] = 1.0
    if width % 2 == 0:
        twice[-1] = 1.0
    return power * SPREAD**2 * height * width / (power * twice).sum()
