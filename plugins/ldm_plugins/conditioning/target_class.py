"""The class that a classifier leads to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ldm_core.contracts import Conditioning, Request, Run
from ldm_core.contracts.family import Condition
from ldm_core.errors import LdmError


def target_class() -> Conditioning:
    """The class of each image for the guidance ``classifier``, by its number: the input
    target_class.

    The network is told nothing of it, so it works on every model, beside any conditioning.
    """
    return TargetClass()


@dataclass(frozen=True)
class TargetClass:
    ability: None = None

    @property
    def inputs(self) -> Mapping[str, Any]:
        return {"target_class": ...}

    def check(self, request: Request) -> None:
        for label in request.inputs["target_class"]:
            if isinstance(label, bool) or not isinstance(label, int) or label < 0:
                raise LdmError(f"a target_class is the number of a class, not {label!r}.")

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition]:
        return {}
