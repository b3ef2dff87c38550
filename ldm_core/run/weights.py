"""Weights that are read when they are first needed."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from ldm_core.contracts import Model


class Weights:
    """A model that is loaded, or made of another, when it is first asked for, by one thread.

    Args:
        load: gives the model.
    """

    def __init__(self, load: Callable[[], Model]) -> None:
        self._load: Callable[[], Model] | None = load
        self._model: Model | None = None
        self._one_at_a_time = Lock()

    @classmethod
    def of(cls, model: Model) -> Weights:
        """Those of a model that is there already."""
        weights = cls(lambda: model)
        _ = weights.model
        return weights

    @property
    def loaded(self) -> bool:
        """Whether the model is there."""
        return self._model is not None

    @property
    def model(self) -> Model:
        """The model; loaded now where it is not there yet."""
        with self._one_at_a_time:
            if self._model is None:
                assert self._load is not None
                self._model = self._load()
                self._load = None
        return self._model
