"""A pipeline whose weights are read when they are first needed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Self

from ldm_core.composition.compose import Composition
from ldm_core.contracts.family import Model
from ldm_core.run.pipeline import Pipeline


class Unread(Pipeline):
    """So what a function asks of it is checked before the weights are read.

    Args:
        load: makes the pipeline with its weights.
    """

    def __init__(self, composition: Composition, load: Callable[[], Pipeline]) -> None:
        object.__setattr__(self, "composition", composition)
        object.__setattr__(self, "_load", load)

    @cached_property
    def model(self) -> Model:
        load: Callable[[], Pipeline] = getattr(self, "_load")  # noqa: B009 - set past the frozen
        return load().model

    def replace(self, **changes: Any) -> Self:
        """Another pipeline on the same weights, which still need not be read."""
        composition = self.composition.replace(changes)
        return type(self)(
            composition, lambda: Pipeline(self.composition, self.model).replace(**changes)
        )
