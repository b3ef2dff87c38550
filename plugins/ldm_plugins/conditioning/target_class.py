"""The class that a classifier leads to."""

from __future__ import annotations

from collections.abc import Mapping

from ldm_core.contracts import REQUIRED, Conditioning, Input, Request
from ldm_core.errors import LdmError
from ldm_core.values import brief

TARGET = Input(int, REQUIRED, help="number of the class that the classifier leads to")


def target_class() -> Conditioning:
    """The class of each image for the guidance ``classifier``, by its number: the input
    target_class.

    The network is told nothing of it, so it works on every model, beside any conditioning.
    """
    return TargetClass()


class TargetClass(Conditioning):
    @property
    def inputs(self) -> Mapping[str, Input]:
        return {"target_class": TARGET}

    def check(self, request: Request) -> None:
        for label in request.inputs["target_class"]:
            if isinstance(label, bool) or not isinstance(label, int) or label < 0:
                raise LdmError(f"a target_class is the number of a class, not {brief(label)}.")
