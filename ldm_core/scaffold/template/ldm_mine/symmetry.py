"""A conditioning: it turns what a person gives into what a run does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ldm_core import LdmError
from ldm_core.contracts import Conditioning, Denoise, Input, Request, Run, RunHooks
from ldm_core.numerics.point import Point

if TYPE_CHECKING:
    from torch import Tensor

INPUTS = {"mirror": Input(float, 1.0, help="how symmetrical the picture is to be, 0 to 1")}


def symmetry() -> Conditioning:
    """Draw each picture and its mirror image as one."""
    return Symmetry()


class Symmetry(Conditioning):
    """Reads a share for each picture, and mixes that much of the mirror image in."""

    @property
    def inputs(self) -> Mapping[str, Input]:
        return INPUTS

    def check(self, request: Request) -> None:
        for share in request.inputs["mirror"]:
            if not 0 <= share <= 1:
                raise LdmError(f"mirror should be a number from 0 to 1, not {share!r}.")

    def bind(self, run: Run) -> RunHooks:
        return Mirror(run.request.inputs["mirror"])


class Mirror(RunHooks):
    """What it does in one run.

    Args:
        shares: how symmetrical each image is to be.
    """

    def __init__(self, shares: Sequence[float]) -> None:
        self._shares = shares

    def denoise(self, denoise: Denoise) -> Denoise:
        def symmetrical(x: Tensor, point: Point) -> Tensor:
            x0 = denoise(x, point)  # (batch, ..., width)
            shares = x0.new_tensor(self._shares).reshape(-1, *[1] * (x0.ndim - 1))
            return x0 + shares / 2 * (x0.flip(-1) - x0)

        return symmetrical
