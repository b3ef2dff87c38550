"""Features from the latents of a model's encoder."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from ldm_core.errors import LdmError
from ldm_plugins.metrics.shared.features import Features

if TYPE_CHECKING:
    from torch import Tensor

CELLS = 4
"""On a side, of which the means over a latent's channels are taken."""


def latent_features(model: str) -> Features:
    """Means of each channel of the latents over 4x4 cells.

    Args:
        model: name of an installed model, folder, or id of the Hub.
    Raises:
        LdmError: there is none, or it draws no pictures.
    """
    from ldm_core.model.recognition import inspect_model
    from ldm_core.plugins.registry import installed

    info, _ = inspect_model(model, installed())
    if {*info.latents.names} != {"height", "width"}:
        raise LdmError(f"features are made of a model of pictures, and '{model}' is none.")
    label = f"latents of {model}"

    @cache
    def pipeline(device: str) -> Any:
        from ldm_core.run.pipeline import Pipeline

        return Pipeline.from_pretrained(model, device=device)

    def rows(pictures: Tensor) -> Tensor:
        from torch.nn.functional import adaptive_avg_pool2d, interpolate

        pipe = pipeline(str(pictures.device))
        near = [info.latents.axis(side).nearest(n) for side, n in _sides(pictures).items()]
        if [*_sides(pictures).values()] != near:
            pictures = interpolate(
                pictures, near, mode="bilinear", antialias=True, align_corners=False
            )
        if info.image_channels == 1:
            pictures = pictures.mean(1, keepdim=True)
        latents: Tensor = pipe.encode(pictures, seed=[0] * len(pictures))
        return adaptive_avg_pool2d(latents, CELLS).flatten(1)

    return Features(label, rows)


def _sides(pictures: Tensor) -> dict[str, int]:
    return dict(zip(("height", "width"), pictures.shape[-2:], strict=True))
