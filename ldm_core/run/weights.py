"""Weights that are read when they are first needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial, reduce
from threading import Lock
from typing import TYPE_CHECKING, Any

from ldm_core.composition.composition import Composition
from ldm_core.contracts import Converter, Model, PartInfo, Place
from ldm_core.contracts.attention import dtype_name
from ldm_core.errors import LdmError
from ldm_core.model import place
from ldm_core.model.at_home import at_home
from ldm_core.model.files import hash_ahead

if TYPE_CHECKING:
    import torch


class Weights:
    """A model that is loaded, or made of another, when it is first asked for, by one thread.

    Args:
        load: gives the model.
    """

    def __init__(self, load: Callable[[], Model]) -> None:
        self._load = load
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
                self._model = self._load()
            return self._model

    def let_go(self) -> None:
        """Keep the model no longer; it is loaded again when it is next asked for."""
        with self._one_at_a_time:
            self._model = None


def load_model(composition: Composition) -> Model:
    """The model of a composition as it is read, before its converters act."""
    where = place.resolve(composition.recipe)
    check_kernel(composition, where)
    for converter in composition.converters:
        converter.prepare(composition.info)
    converters = composition.converters

    def loading(part: PartInfo) -> Mapping[str, Any]:
        return {key: value for c in converters for key, value in c.loading(part).items()}

    where = replace(where, loading=loading)
    if any(type(converter).reads_to is not Converter.reads_to for converter in converters):
        where = replace(where, reads_to=partial(_read_to, converters))
    hash_ahead(composition.info.folder, composition.info.file)
    return composition.family.load(composition.info, where)


def _read_to(converters: Sequence[Converter], part: PartInfo) -> torch.device | None:
    """Where a part's weights are read to, as the first converter that says so has it."""
    import torch

    names = (converter.reads_to(part) for converter in converters)
    return next((torch.device(name) for name in names if name is not None), None)


def converted(composition: Composition, whole: Weights) -> Weights:
    """The model that runs are made with."""
    converters = composition.converters

    def convert(model: Model, converter: Converter) -> Model:
        return converter.convert(model)

    return Weights(lambda: at_home(reduce(convert, converters, whole.model)))


def check_reading(read: Composition, wanted: Composition) -> None:
    """See that weights which were read for one composition are those that another would read.

    Raises:
        LdmError: they were read in another form, as by another converter 'quantize'.
    """
    then, now = _readings(read), _readings(wanted)
    if then != now:
        raise LdmError(
            "converters that act while weights are read belong to the weights: these were read "
            f"with {', '.join(then) or 'none'}, not with {', '.join(now) or 'none'}.",
            "load another pipeline for it, or name the same converter again among the others.",
        )


def _readings(composition: Composition) -> list[str]:
    readings = (converter.reading for converter in composition.converters)
    return sorted(reading for reading in readings if reading is not None)


def check_kernel(composition: Composition, where: Place) -> None:
    """See that the attention kernel runs where the model is to be; and of one that does not take
    every layer, that it takes those of this model, as far as shapes tell.

    Raises:
        LdmError: it does not, with the reason.
    """
    kernel = composition.attention.on(where.device.type, dtype_name(where.compute_dtype))
    if kernel.limited:
        from ldm_core.run.attention_layers import attention_layers, check_taken

        check_taken(attention_layers(composition, where), kernel, where)
