"""What a machine has not got for lines: devices and memory, seen before any weight is read."""

from __future__ import annotations

import json

from ldm_core.composition.composition import Composition
from ldm_core.contracts import Plan
from ldm_core.errors import LdmError
from ldm_core.model import place

CERTAIN = ("auto", "cpu")
"""Devices that are there."""


def check_device(composition: Composition) -> None:
    """See that the device is there that a recipe names.

    Raises:
        LdmError: it is not.
    """
    if place.names(composition.recipe).device not in CERTAIN:
        place.resolve(composition.recipe)


class MemoryCheck:
    """Sees that batches fit into the memory that their recipes say there is. A batch of the same
    recipe and size is seen to once."""

    def __init__(self) -> None:
        self._seen: dict[str, LdmError | None] = {}

    def check(self, composition: Composition, whole: Plan, images: int) -> None:
        """
        Args:
            whole: of which the first batch is seen to.
            images: of that.
        Raises:
            LdmError: it does not fit, wherever the weights lie.
        """
        if "memory" not in composition.recipe:
            return
        plan = whole.batches(images)[0]
        request = plan.request
        size = [len(request.seeds), dict(request.extent), sorted(request.inputs)]
        key = json.dumps([composition.recipe, size], default=str)
        if key not in self._seen:
            self._seen[key] = _refusal(composition, plan)
        error = self._seen[key]
        if error is not None:
            raise LdmError(error.message, error.hint)


def _refusal(composition: Composition, plan: Plan) -> LdmError | None:
    from ldm_core.run.memory.plan import Planner

    try:
        Planner.of(composition).made(plan)
    except LdmError as error:
        return error
    return None
