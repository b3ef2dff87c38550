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
from ldm_core.contracts.observer import TellPart
from ldm_core.errors import LdmError, PartError, said
from ldm_core.model import place
from ldm_core.model.at_home import at_home
from ldm_core.model.files import hash_ahead
from ldm_core.model.what_families_say import checked
from ldm_core.plugins.owners import Owners
from ldm_core.run.converted_parts import check_converted, note_converted
from ldm_core.run.guards import made_by
from ldm_core.run.reading import heard_of_parts
from ldm_core.run.unchanged import Unchanged
from ldm_core.values import brief

if TYPE_CHECKING:
    import torch


LOADING = "while the weights were loaded"


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

    @classmethod
    def read(
        cls, load: Callable[[], Model], around: Callable[[Callable[[], Model]], Model] | None
    ) -> Weights:
        """Those that ``load()`` reads, the first time by ``around(load)`` where it is given."""
        first = [] if around is None else [around]

        def loaded() -> Model:
            model = first[0](load) if first else load()
            first.clear()
            return model

        return cls(loaded)

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


def at_rate(whole: Weights, composition: Composition) -> Weights:
    """The same weights, as a model of a composition's latents, which are of another frame rate."""

    def model() -> Model:
        with composition.owners.blamed(composition.family, "before the first step"):
            info = replace(whole.model.info, latents=composition.info.latents)
            return composition.family.at_rate(whole.model, info)

    return Weights(model)


def load_model(composition: Composition) -> Model:
    """The model of a composition as it is read, before its converters act."""
    where = place.resolve(composition.recipe)
    check_kernel(composition, where)
    prepare(composition)
    converters, owners = composition.converters, composition.owners

    whose: dict[str, Converter] = {}

    def loading(tell: TellPart, part: PartInfo) -> Mapping[str, Any]:
        tell(part)
        several: dict[str, Any] = {}
        for converter in converters:
            with owners.blamed(converter, LOADING):
                told = converter.loading(part)
                if not isinstance(told, Mapping) or not all(isinstance(n, str) for n in told):
                    what = "what the reader of a part is told is a table by names"
                    raise PartError(converter, f"{what}, not {brief(told)}.")
                several |= told
                whose.update(dict.fromkeys(told, converter))
        return several

    if any(type(converter).reads_to is not Converter.reads_to for converter in converters):
        where = replace(where, reads_to=partial(_read_to, converters, owners))
    info = composition.info
    hash_ahead(info.folder, info.file, info.components)
    family, gives = composition.family, "a family loads a Model"
    try:
        with heard_of_parts(composition.observers, info.parts, owners) as tell:
            where = replace(where, loading=partial(loading, tell))
            load = partial(family.load, info, where)
            model = made_by(owners, family, LOADING, Model, gives, load)
        with owners.blamed(family, LOADING):
            return model if owners.is_ours(family) else checked(model, family)
    except LdmError as error:
        for name, converter in whose.items():
            if f"unexpected keyword argument '{name}'" in said(error):
                with owners.blamed(converter, LOADING):
                    what = f"it has the reader told '{name}', which that does not know"
                    raise PartError(converter, f"{what}: {error.message}") from error
        raise


def prepare(composition: Composition) -> None:
    """Have each converter say what only heavy libraries can tell, before weights are read."""
    for converter in composition.converters:
        with composition.owners.blamed(converter, LOADING):
            converter.prepare(composition.info)


def _read_to(
    converters: Sequence[Converter], owners: Owners, part: PartInfo
) -> torch.device | None:
    """Where a part's weights are read to, as the first converter that says so has it."""
    import torch

    for converter in converters:
        with owners.blamed(converter, LOADING):
            if (name := converter.reads_to(part)) is not None:
                return torch.device(name)
    return None


def converted(composition: Composition, whole: Weights) -> Weights:
    """The model that runs are made with."""
    converters = composition.converters

    def convert(model: Model, converter: Converter) -> Model:
        gives, make = "a converter makes a Model of a Model", partial(converter.convert, model)
        doing = "while the model was converted"
        given = None if composition.owners.is_ours(converter) else Unchanged(model)
        made = made_by(composition.owners, converter, doing, Model, gives, make)
        if given is not None:
            with composition.owners.blamed(converter, doing):
                check_converted(made, model, converter)
                given.check(converter)
            plugin = composition.owners.of(converter)
            if plugin is not None:
                note_converted(made, model, plugin.whose)
        return made

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
