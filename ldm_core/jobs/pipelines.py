"""The pipelines of a job's batches, with the weights of one model at a time."""

from __future__ import annotations

import gc
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from ldm_core.composition.recipe import Layer
from ldm_core.contracts import Model
from ldm_core.jobs.compositions import KEPT, Compositions, conversion, key_of, split

if TYPE_CHECKING:
    from ldm_core.run.pipeline import Pipeline

Around = Callable[[Callable[[], Model]], Model]


class Pipelines:
    """
    Args:
        around: as of `Pipeline.from_composition`.
        base: of the job's own choices, where there is one already; its weights are used.
    """

    def __init__(
        self,
        compositions: Compositions,
        around: Around | None = None,
        base: Pipeline | None = None,
    ) -> None:
        self._compositions = compositions
        self._around = around
        self._of_weights = ""
        self._base = base
        self._of_conversion = ""
        self._converted: Pipeline | None = None
        self._kept: OrderedDict[str, Pipeline] = OrderedDict()

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
        self._convert(self._base, conversion(rest))
        key = key_of(rest)
        if key not in self._kept:
            self._kept[key] = self._on(self._base, rest)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def _convert(self, base: Pipeline, converts: Layer) -> None:
        """Have weights converted, once for all that follow one another and have it alike; those of
        another conversion are let go first."""
        if key_of(converts) == self._of_conversion:
            return
        self._kept.clear()
        self._converted = None
        self._of_conversion = ""
        if converts:
            self._converted = base.replace(**converts)
            self._of_conversion = key_of(converts)

    def _on(self, base: Pipeline, rest: Layer) -> Pipeline:
        """A pipeline of other choices on the weights that there are."""
        converts = conversion(rest)
        others = {key: value for key, value in rest.items() if key not in converts}
        below = base if self._converted is None else self._converted
        return below.replace(**others) if others else below

    def _drop(self) -> None:
        """Let go of the weights."""
        if self._base is None:
            return
        self._base = self._converted = None
        self._kept.clear()
        self._of_conversion = ""
        gc.collect()
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()
