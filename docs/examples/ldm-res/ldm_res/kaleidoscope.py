"""A conditioning: pictures that stay the same when they are turned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from ldm_core import LdmError
from ldm_core.contracts import Conditioning, Denoise, Input, Request, Run, RunHooks
from ldm_core.numerics.point import Point

if TYPE_CHECKING:
    from torch import Tensor

INPUTS = {"folds": Input(Literal[1, 2, 4], 4, help="how often a picture looks alike in one turn")}


def kaleidoscope() -> Conditioning:
    """Draw pictures that look the same after a half or a quarter of a turn."""
    return Kaleidoscope()


class Kaleidoscope(Conditioning):
    """Reads how many folds each picture has."""

    @property
    def inputs(self) -> Mapping[str, Input]:
        return INPUTS

    def check(self, request: Request) -> None:
        if {*request.extent} != {"height", "width"}:
            raise LdmError("'kaleidoscope' turns pictures, and this model draws something else.")
        if request.width != request.height and 4 in request.inputs["folds"]:
            raise LdmError(
                f"only a square picture has four folds, not one of {request.width}x"
                f"{request.height}.",
                "say --folds 2, or another --size.",
            )

    def bind(self, run: Run) -> RunHooks:
        return Turned(run.request.inputs["folds"])


class Turned(RunHooks):
    """The mean of each x0 estimate over its turns.

    Args:
        folds: of each image.
    """

    def __init__(self, folds: Sequence[int]) -> None:
        self._folds = folds

    def denoise(self, denoise: Denoise) -> Denoise:
        def symmetrical(x: Tensor, point: Point) -> Tensor:
            x0 = denoise(x, point).clone()  # (batch, channels, height, width)
            for image, folds in enumerate(self._folds):
                turns = [x0[image].rot90(4 // folds * i, (-2, -1)) for i in range(folds)]
                x0[image] = sum(turns[1:], start=turns[0]) / folds
            return x0

        return symmetrical
