"""Whose failure it is that a model cannot be had: what fails without anything that a person chose
is a matter of the package that ships the model, or of the one whose family knows it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ldm_core.composition.recipe import TRUST, Layer, read_recipe
from ldm_core.composition.short_names import owned, owner_of_folder, shipped
from ldm_core.contracts import Family, ModelInfo
from ldm_core.errors import LdmError, MachineError, PluginError
from ldm_core.model.files import MODEL_RECIPE
from ldm_core.model.recognition import inspect_model
from ldm_core.model.shipping import in_words, shipped_in
from ldm_core.plugins.blame import OWN
from ldm_core.plugins.registry import Registry

CHOICES = "by the choices that it makes for a model"


def inspected(layer: Layer, registry: Registry, family_id: str | None) -> tuple[ModelInfo, Family]:
    """What the folder says of the model that a layer names, and its family.

    Raises:
        LdmError: there is none, or it is no model.
        PluginError: another package ships it, and it is none.
    """
    source = str(layer["model"])
    config, components = layer.get("model_config"), layer.get("components", {})
    try:
        return inspect_model(source, registry, config, family_id, components)
    except LdmError as error:
        folders = {model.folder for model in shipped(registry, source)}
        told = None
        if len(folders) == 1:
            doing, alone = "while its folder was read", partial(inspect_model, source, registry)
            told = _of_package(error, registry, folders.pop(), doing, alone)
        if told is None:
            raise
        raise told from error


def own_recipe(registry: Registry, folder: Path) -> Layer:
    """What a model's folder chooses itself.

    Raises:
        LdmError: it cannot be read, or says what only a person can.
        PluginError: and another package ships it.
    """
    try:
        return owned(_own_recipe(folder), registry, owner_of_folder(registry, folder))
    except LdmError as error:
        doing, alone = f"while its {MODEL_RECIPE} was read", partial(_own_recipe, folder)
        told = _of_package(error, registry, folder, doing, alone)
        if told is None:
            raise
        raise told from error


def _own_recipe(folder: Path) -> Layer:
    file = folder / MODEL_RECIPE
    own = read_recipe(file) if os.path.lexists(file) else {}
    if TRUST in own:
        raise LdmError(f"a model does not say which plugins are imported, as {file} would.")
    for key in sorted(own.keys() & {"model", "model_config"}):
        raise LdmError(f"a model does not say which model it is, as {file} would by '{key}'.")
    if "components" in own:
        raise LdmError(
            f"a model does not say which components it has of other folders, as {file} would.",
            "a recipe of yours does: components = { NAME = FOLDER }.",
        )
    return own


def failure(
    error: LdmError,
    registry: Registry,
    info: ModelInfo,
    own: Layer,
    alone: Callable[[Layer], None],
) -> PluginError | None:
    """What to raise in an error's place that came out of composing; None where it is a person's.

    Args:
        own: what the model's folder chooses.
        alone: composes what the family and such a layer choose, and nothing that a person does.
    """
    family = registry.find("family", info.family_id)
    if family.distribution != OWN and _is_same(error, partial(alone, {})):
        return PluginError(family.whose, CHOICES, error)
    return _of_package(error, registry, info.folder, CHOICES, partial(alone, own))


def _of_package(
    error: LdmError, registry: Registry, folder: Path, doing: str, alone: Callable[[], object]
) -> PluginError | None:
    """The failure of the package that ships a folder, where it is one."""
    model = shipped_in(registry, folder)
    if model is None or model.distribution == OWN or not _is_same(error, alone):
        return None
    return PluginError(in_words(model), doing, error)


def _is_same(error: LdmError, alone: Callable[[], object]) -> bool:
    """Whether the same comes out where a person chooses nothing."""
    if isinstance(error, PluginError | MachineError):
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of which a person has been told
            alone()
    except LdmError as same:
        return same.message == error.message
    return False
