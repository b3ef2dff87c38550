"""A family: it knows one kind of model folder.

This one has no weights. Its data is Gaussian with the spectrum of clouds, for which the best answer
to a noisy picture is known: each wave is scaled by how much of it is signal (Wiener 1949).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Call, Family, LatentSpace, Model, ModelInfo, Place
from ldm_core.numerics.noise_schedule import FlowSchedule
from ldm_core.numerics.prediction import SAMPLE

if TYPE_CHECKING:
    from torch import Tensor

PIPELINE = "MinePipeline"
"""The class that the folders' model_index.json names."""
SPREAD = 0.4
"""The standard deviation of a pixel."""


class Clouds(Family):
    """Clouds without weights: folders whose model_index.json names `PIPELINE`."""

    def matches(self, index: Mapping[str, Any]) -> bool:
        return index.get("_class_name") == PIPELINE

    def inspect(self, source: str, folder: Path, index: Mapping[str, Any]) -> ModelInfo:
        return ModelInfo(
            family="mine",
            source=source,
            folder=folder,
            noise_schedule=FlowSchedule(),
            prediction_type=SAMPLE,
            latents=LatentSpace.of_picture(3),
            default_extent={"height": 64, "width": 64},
            abilities=frozenset(),
            defaults={
                "num_inference_steps": 20,
                "scheduler": "ldm-core:euler",
                "spacing": "ldm-core:trailing",
                "guidance": "ldm-core:none",
                "conditioning": [],
                "attention": "ldm-core:native",
                "encoder": "ldm-core:pixels",
                "decoder": "ldm-core:pixels",
            },
        )

    def load(self, info: ModelInfo, place: Place) -> Model:
        return Model(info, clouds, abilities={}, parts={}, place=place)


def clouds(call: Call) -> Tensor:
    """E[x0 | x] of each row: the wave k of x times alpha·S(k) / (alpha²·S(k) + sigma²)."""
    import torch

    height, width = call.x.shape[-2:]
    power = spectrum(height, width).to(call.x.device)
    points = [(row.point.alpha, row.point.sigma) for row in call.rows]
    alpha, sigma = call.x.new_tensor(points).T.reshape(2, -1, 1, 1, 1)  # (rows, 1, 1, 1) each
    kept = alpha * power / (alpha**2 * power + sigma**2)
    x0: Tensor = torch.fft.irfft2(kept * torch.fft.rfft2(call.x), s=(height, width))
    return x0


def spectrum(height: int, width: int) -> Tensor:
    """S(k), the variance of each wave, (height, width // 2 + 1); it falls as 1/|k|³."""
    import torch

    down, across = torch.fft.fftfreq(height) * height, torch.fft.rfftfreq(width) * width
    length = torch.hypot(down[:, None], across).clamp(min=1.0)
    power = length**-3
    twice = torch.full((width // 2 + 1,), 2.0)  # the waves that rfft2 leaves out
    twice[0] = 1.0
    if width % 2 == 0:
        twice[-1] = 1.0
    return power * SPREAD**2 * height * width / (power * twice).sum()
