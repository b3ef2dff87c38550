"""What families of Diffusers folders share: the classes in the index, and reading the weights."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self

from ldm_core.contracts.family import Lora, Model, ModelInfo
from ldm_core.errors import LdmError
from ldm_core.model.files import check_weights, class_name, read_index
from ldm_core.model.place import Place
from ldm_plugins.families.shared.single_file import (
    Shapes,
    check_file,
    default_config,
    holds,
    read_file,
)

BESIDE_A_PIPELINE = {"LDMBertModel": "diffusers.pipelines.latent_diffusion"}
"""Classes that a library does not offer at its top, with the module that has them."""


class DiffusersFolder(ABC):
    """A family whose folders Diffusers' pipeline classes made.

    A subclass names its pipelines and components, reads the JSON files in `inspect`, and makes a
    model of loaded components in `build`.

    Attributes:
        pipelines: the classes that ``model_index.json`` may name.
        components: each component with the classes that it may be of. Tokenizers and schedulers
            have no weights; a scheduler is not loaded.
        optional: components that a folder may lack.
        shapes: of the tensors in a single file, which then has weights in place of the folder.
    """

    pipelines: ClassVar[tuple[str, ...]]
    components: ClassVar[Mapping[str, tuple[str, ...]]]
    optional: ClassVar[frozenset[str]] = frozenset()
    shapes: Shapes = MappingProxyType({})

    def matches(self, index: Mapping[str, Any]) -> bool:
        return index.get("_class_name") in self.pipelines

    @abstractmethod
    def inspect(self, source: str, folder: Path, index: Mapping[str, Any]) -> ModelInfo: ...

    @abstractmethod
    def build(
        self,
        info: ModelInfo,
        components: Mapping[str, Any],
        place: Place,
    ) -> Model:
        """The model made of these components, which are in their place already."""

    def load(self, info: ModelInfo, place: Place) -> Model:
        index = read_index(info.folder)
        present = {name: class_of(index, name) for name in self.components}
        inside = {
            name: find_class(cls)
            for name, cls in present.items()
            if cls is not None and holds(self.shapes, name, cls)
        }
        components = {
            name: read_component(info.folder, name, cls, place)
            for name, cls in present.items()
            if cls is not None and name not in inside
        }
        if info.file is not None:
            components |= read_file(info.file, info.folder, inside, place)
        return self._make(info, components, place)

    def _make(
        self,
        info: ModelInfo,
        components: Mapping[str, Any],
        place: Place,
    ) -> Model:
        def remake(others: Mapping[str, Any]) -> Model:
            return self._make(info, {**components, **others}, place)

        made = self.build(info, components, place)
        return replace(made, remake=remake, latent_space=latent_space(components))

    def default_config(self, shapes: Shapes) -> str | None:
        return default_config(shapes)

    def of_file(self, file: Path, shapes: Shapes) -> Self:
        found = copy.copy(self)
        found.shapes = shapes
        return found

    def adapter(self, info: ModelInfo, loras: Sequence[Lora]) -> Callable[[Model], Model]:
        from ldm_plugins.families.shared.lora import find_loader, with_loras

        pipeline = find_class(class_name(read_index(info.folder)))
        loader = find_loader(pipeline, info, loras)

        def put(model: Model) -> Model:
            components = with_loras(loader, info, model.components, loras)
            return self._make(info, components, model.place)

        return put

    def check(self, source: str, folder: Path, index: Mapping[str, Any]) -> None:
        """See that the components are of the expected classes, with whole weights.

        Raises:
            LdmError: one is missing or of another class, or its weights cannot be used.
        """
        weighty = {}
        for component, expected in self.components.items():
            found = class_of(index, component)
            if found is None and component in self.optional:
                continue
            if found is None or found.removesuffix("Fast") not in expected:
                raise LdmError(
                    f"'{source}': {component} should be a {' or '.join(expected)} in "
                    f"model_index.json, not {found}."
                )
            if "Tokenizer" not in found:
                weighty[component] = found
        if self.shapes:
            check_file(source, self.shapes, folder, weighty)
        else:
            check_weights(folder, weighty)


def class_of(index: Mapping[str, Any], component: str) -> str | None:
    """The class of a component in ``model_index.json``; None where the folder lacks it."""
    entry = index.get(component)
    found = entry[1] if isinstance(entry, list | tuple) and len(entry) == 2 else entry
    return str(found) if found is not None else None


def read_component(folder: Path, component: str, name: str, place: Place) -> Any:
    """A component by the name of its class, from safetensors alone, frozen and in place."""
    part = folder / component
    cls = find_class(name)
    if "Tokenizer" in name:
        return cls.from_pretrained(part, local_files_only=True)
    options: dict[str, Any] = {"use_safetensors": True, "local_files_only": True}
    # Transformers and Diffusers name this argument differently.
    options["torch_dtype" if hasattr(cls, "load_config") else "dtype"] = place.dtype
    if not any(part.glob("*model.safetensors*")) and any(part.glob("*.fp16.safetensors*")):
        options["variant"] = "fp16"
    return place.put(cls.from_pretrained(part, **options))


def find_class(name: str) -> Any:
    """A class of Diffusers or Transformers; tokenizers in their fast form where there is one."""
    names = [name if name.endswith("Fast") else f"{name}Fast", name] if "Token" in name else [name]
    for library in ("diffusers", "transformers", *filter(None, [BESIDE_A_PIPELINE.get(name)])):
        for candidate in names:
            found = getattr(import_module(library), candidate, None)
            if found is not None:
                return found
    raise LdmError(f"neither diffusers nor transformers has a class {name}.")


def latent_size(config: Mapping[str, Any], default: int) -> tuple[int, int]:
    """(width, height) of a network's ``sample_size``, one number or (height, width)."""
    sample = config.get("sample_size") or default
    height, width = sample if isinstance(sample, list | tuple) else (sample, sample)
    return width, height


def class_names(index: Mapping[str, Any], count: int) -> tuple[str, ...]:
    """What ``id2label`` in the index calls each of so many classes; empty where it says nothing."""
    labels = index.get("id2label")
    said: Mapping[str, Any] = labels if isinstance(labels, Mapping) else {}
    return tuple(str(said.get(str(number), "")) for number in range(count))


def latent_space(components: Mapping[str, Any]) -> dict[str, Any]:
    """What an autoencoder's config says of the numbers that its latents are normalised by."""
    configs = [getattr(component, "config", None) for component in components.values()]
    return {
        name: value
        for config in configs
        for name in ("scaling_factor", "shift_factor", "latents_mean", "latents_std")
        if (value := getattr(config, name, None)) is not None
    }


def autoencoder_factor(config: Mapping[str, Any]) -> int:
    """By how much the autoencoder of this config shrinks each side."""
    return int(2 ** (len(config.get("block_out_channels", [64])) - 1))
