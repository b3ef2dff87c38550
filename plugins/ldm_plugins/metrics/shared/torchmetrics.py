"""What torchmetrics computes."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ldm_plugins.shared.quiet import quiet

if TYPE_CHECKING:
    from torch import Tensor

NEEDS = ("torchmetrics",)
EXTRA = "metrics"
"""Of ldm-core, which installs it."""


def functions() -> Any:
    """Its functions of pictures."""
    with quiet("torchmetrics"):
        return import_module("torchmetrics.functional.image")


def precise(pictures: Tensor) -> Tensor:
    """Pictures in float64, where the device has it: variances within windows are differences of
    means, and those of even surfaces are lost in float32."""
    return pictures if pictures.device.type == "mps" else pictures.double()


def sets() -> tuple[Any, Any]:
    """Its Fréchet and kernel Inception distances, of features that are computed already."""
    with quiet("torchmetrics"):
        fid = import_module("torchmetrics.image.fid").FrechetInceptionDistance
        kid = import_module("torchmetrics.image.kid").KernelInceptionDistance
    return fid, kid


def as_they_are(values: int) -> Any:
    """A feature extractor of what are features already.

    Args:
        values: of each picture.
    """
    from torch import nn

    class AsTheyAre(nn.Identity):
        num_features = values

    return AsTheyAre()
