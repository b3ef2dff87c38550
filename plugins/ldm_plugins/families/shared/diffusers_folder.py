"""What families of Diffusers folders share: the classes in the index, and reading the weights."""

from __future__ import annotations

import copy
import warnings
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self

from ldm_core.contracts import Family, Model, ModelInfo, Part, PartInfo, Place
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.model.files import read_index
from ldm_core.model.gguf_header import read_header_of_weights
from ldm_core.model.quantised import scale_names
from ldm_core.model.weight_files import check_weights
from ldm_plugins.families.shared.checkpoint import scheduler_settings, usual_shapes
from ldm_plugins.families.shared.component import (
    Component,
    is_tokenizer,
    read_part,
    widened,
)
from ldm_plugins.families.shared.folder import Folder, class_of
from ldm_plugins.families.shared.gguf_file import is_gguf
from ldm_plugins.families.shared.single_file import (
    Shapes,
    check_file,
    default_config,
    holds,
    read_file,
)
from ldm_plugins.families.shared.t5_text import check_tokenizer
from ldm_plugins.families.shared.tokenizer_files import check_files, check_numbers
from ldm_plugins.shared.side_networks import KNOWN, MASK, masked_channels

DATA_ERRORS = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What ordinary code raises where a value is of another kind than it expects."""
NORMALISATION = ("scaling_factor", "shift_factor", "latents_mean", "latents_std")
"""What an autoencoder's config says of the numbers that its latents are normalised by."""


class DiffusersFolder(Family):
    """A family whose folders Diffusers' pipeline classes made.

    A subclass names its pipelines and components, says in `describe` what the JSON files mean, and
    makes a model of loaded parts in `build`.

    Attributes:
        pipelines: the classes that ``model_index.json`` may name.
        components: by their names in the folder; a scheduler is none of them.
        shapes: of the tensors in a single file, which then has weights in place of the folder.
        stated: what that file says of its noise schedule, in place of the scheduler's config.
    """

    pipelines: ClassVar[tuple[str, ...]]
    components: ClassVar[Mapping[str, Component]]
    shapes: Shapes = MappingProxyType({})
    stated: Mapping[str, Any] = MappingProxyType({})

    @abstractmethod
    def describe(self, folder: Folder) -> ModelInfo:
        """What the folder's JSON files say; raise `LdmError` where they do not fit each other."""

    @abstractmethod
    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        """The model made of these parts, which are in their places already."""

    def prepare(self, name: str, part: Part, place: Place) -> Part:
        """A part that has just been read, as this family needs it."""
        return part

    def matches(self, index: Mapping[str, Any]) -> bool:
        return index.get("_class_name") in self.pipelines

    def inspect(self, source: str, folder: Path, index: Mapping[str, Any]) -> ModelInfo:
        roles = ((name, component.role) for name, component in self.components.items())
        autoencoder = next((name for name, role in roles if role == "autoencoder"), None)
        files = Folder(source, folder, index, autoencoder, self.stated)
        self._check_classes(files)
        for part in self._present(index):
            if not is_tokenizer(part.cls):
                files.config(part.name)
        try:
            info = self.describe(files)
        except DATA_ERRORS as error:
            if isinstance(error, LdmError):
                raise
            raise files.error(
                f"its JSON files say what cannot be: {type(error).__name__}: {error}."
            ) from error
        self._check_weights(files)
        warn_of_unused(files)
        return replace(info, parts=tuple(self._weighty(index)), wide_parts=self._wide(files))

    def load(self, info: ModelInfo, place: Place) -> Model:
        present = self._present(read_index(info.folder))
        inside = [part for part in present if holds(self.shapes, part.name, part.cls)]
        on_shapes = place.device.type == "meta"
        parts = {
            part.name: read_part(
                info.folder / part.name, part, place, info.file if part in inside else None
            )
            for part in present
            if on_shapes or part not in inside
        }
        if info.file is not None and not on_shapes:
            parts |= read_file(info.file, info.folder, inside, place)
        _check_tokens(info, parts)
        for name in info.wide_parts:
            parts[name] = widened(parts[name], place)
        parts = {name: self.prepare(name, part, place) for name, part in parts.items()}
        return self._make(info, parts, place)

    def default_config(self, shapes: Shapes) -> str | None:
        return default_config(usual_shapes(shapes))

    def of_file(self, file: Path, shapes: Shapes) -> Self:
        family = copy.copy(self)
        header = read_header_of_weights(file)
        try:
            if not is_gguf(file):  # whose types are packed with their scales
                scale_names(header)
            family.stated = scheduler_settings(header)
        except LdmError as error:
            raise LdmError(f"'{file}': {error.message}", error.hint) from None
        family.shapes = usual_shapes(shapes)
        return family

    def _make(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        def remake(others: Mapping[str, Part], where: Place) -> Model:
            return self._make(info, others, where)

        model = self.build(info, parts, place)
        return replace(model, remake=remake, normalisation=_normalisation(model))

    def _wide(self, folder: Folder) -> frozenset[str]:
        """The autoencoders whose config states that they need float32: Diffusers' class takes all
        that state nothing for such, and its pipelines of Stable Diffusion 1 and 2 heed none."""
        present = self._present(folder.index)
        names = [part.name for part in present if part.role == "autoencoder"]
        return frozenset(n for n in names if folder.config(n).get("force_upcast") is True)

    def _present(self, index: Mapping[str, Any]) -> list[PartInfo]:
        """The components that a folder has."""
        classes = {name: class_of(index, name) for name in self.components}
        return [
            PartInfo(name, cls, self.components[name].role)
            for name, cls in classes.items()
            if cls is not None
        ]

    def _weighty(self, index: Mapping[str, Any]) -> list[PartInfo]:
        """Those of them that have weights."""
        return [part for part in self._present(index) if not is_tokenizer(part.cls)]

    def _check_classes(self, folder: Folder) -> None:
        """See that the components are of the expected classes, and that tokenizers are there."""
        for name, component in self.components.items():
            cls = folder.class_of(name)
            if cls is None and component.optional:
                continue
            if cls is None or cls.removesuffix("Fast") not in component.classes:
                raise folder.error(
                    f"{name} should be a {' or '.join(component.classes)} in model_index.json, "
                    f"not {cls}."
                )
            if "T5Tokenizer" in component.classes:
                check_tokenizer(folder.path / name)
            elif is_tokenizer(cls):
                check_files(folder.path / name, cls)

    def _check_weights(self, folder: Folder) -> None:
        """See that the weights are whole."""
        weighty = self._weighty(folder.index)
        if self.shapes:
            check_file(folder, self.shapes, weighty)
        else:
            check_weights(folder.path, [part.name for part in weighty])


def _check_tokens(info: ModelInfo, parts: Mapping[str, Part]) -> None:
    """See that each text encoder knows the tokens of its tokenizer, which is named alike."""
    texts = {name: part for name, part in parts.items() if part.role == "text"}
    for name, part in parts.items():
        number = name.removeprefix("tokenizer")
        if number == name:
            continue
        for text, encoder in texts.items():
            if len(texts) == 1 or text == f"text_encoder{number}":
                check_numbers(encoder, part.module, f"the {name} in {info.folder / name}")


def warn_of_unused(folder: Folder) -> None:
    """Say what a folder of another task's class has beside the model, or does by itself there."""
    for name in ("controlnet", "adapter"):
        cls = folder.class_of(name)
        if cls is None:
            continue
        there = (folder.path / name / "config.json").is_file()
        if cls in KNOWN and not (there and masked_channels(folder.config(name)) > MASK):
            how = f'unless it is named: {{ name = "control", models = ["{folder.path / name}"] }}.'
        else:
            how = f"and cannot be: a {cls} such as that is not known here."
        warnings.warn(
            f"'{folder.source}' has a {name} beside the model, which is not used {how}",
            LdmWarning,
            stacklevel=2,
        )
    if "PAG" in folder.pipeline:
        warnings.warn(
            f"'{folder.source}' was saved from {folder.pipeline}; its guidance by perturbed "
            "attention is not used unless it is chosen: perturbed_attention.",
            LdmWarning,
            stacklevel=2,
        )


def _normalisation(model: Model) -> dict[str, Any]:
    autoencoder = model.part("autoencoder")
    config = {} if autoencoder is None else autoencoder.module.config
    return {name: config[name] for name in NORMALISATION if config.get(name) is not None}
