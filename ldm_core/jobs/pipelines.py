"""The pipelines of a job's batches, with the weights of one model at a time."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING

from ldm_core.composition.recipe import Layer
from ldm_core.contracts import Model
from ldm_core.jobs.compositions import Compositions, key_of, split

if TYPE_CHECKING:
    from ldm_core.run.pipeline import Pipeline

Around = Callable[[Callable[[], Model]], Model]


class Pipelines:
    """
    Args:
        around: as of `Pipeline.from_composition`.
    """

    def __init__(self, compositions: Compositions, around: Around | None = None) -> None:
        self._compositions = compositions
        self._around = around
        self._of_weights = ""
        self._base: Pipeline | None = None
        self._of_rest = ""
        self._last: Pipeline | None = None

    def of(self, choices: Layer) -> Pipeline:
        """The pipeline of a group's choices; weights of another model are let go first.

        Raises:
            LdmError: what is chosen does not fit the model.
        """
        from ldm_core.run.pipeline import Pipeline

        weights, rest = split(choices)
        if self._base is None or key_of(weights) != self._of_weights:
            self._drop()
            composition = self._compositions.of(weights)
            self._base = Pipeline.from_composition(composition, self._around)
            self._of_weights = key_of(weights)
        if not rest:
            return self._base
        if self._last is None or key_of(rest) != self._of_rest:
            self._last = None
            self._last = self._base.replace(**rest)
            self._of_rest = key_of(rest)
        return self._last

    def _drop(self) -> None:
        """Let go of the weights."""
        if self._base is None:
            return
        self._base = self._last = None
        gc.collect()
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()
