"""How the pictures of a comparison are made."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ldm_core.errors import LdmError
from ldm_core.jobs.making import Call, Making

if TYPE_CHECKING:
    from ldm_core.run.pipeline import Pipeline


class CompareMaking(Making):
    """Calls of a pipeline, as `ldm generate` makes them, in a job that is none of that command's:
    its cells are no lines of a file.

    What is done once in a process, such as compiling or choosing kernels, is done before time is
    measured: by a run of one step where weights or attention are not those of the call before.
    """

    name = "ldm-core:compare"

    def __init__(self) -> None:
        self._warm: tuple[object, Any] | None = None

    def ready(self, pipe: Pipeline, call: Call) -> None:
        attention = pipe.recipe.get("attention")
        if self._warm is not None and self._warm[0] is pipe.weights and self._warm[1] == attention:
            return
        self._warm = (pipe.weights, attention)
        with suppress(LdmError):  # of such as need more steps; those are then warm a little later
            unseen = pipe.replace(observers=[])
            for _ in unseen.batches(**{**call, "num_inference_steps": 1}):
                pass
