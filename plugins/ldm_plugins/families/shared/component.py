"""The components of a model folder: which they may be, and reading one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from ldm_core.contracts import Part, PartInfo, Place
from ldm_plugins.shared.classes import find_class


class Component(NamedTuple):
    """A component that a family's folders have.

    Attributes:
        classes: those that it may be of.
        role: as of `Part`; a tokenizer's is ``other``.
        optional: a folder may lack it.
    """

    classes: tuple[str, ...]
    role: str
    optional: bool = False


def is_tokenizer(cls: str) -> bool:
    """Whether a class is one of tokenizers, which have no weights."""
    return "Tokenizer" in cls


def read_part(folder: Path, part: PartInfo, place: Place) -> Part:
    """A component from a folder, from safetensors alone, frozen and in its place.

    Args:
        folder: the component's own.
    """
    cls = find_class(part.cls)
    if is_tokenizer(part.cls):
        return in_place(cls.from_pretrained(folder, local_files_only=True), part, place)
    from diffusers import ModelMixin

    options: dict[str, Any] = {"use_safetensors": True, "local_files_only": True}
    # Transformers and Diffusers name this argument differently.
    options["torch_dtype" if issubclass(cls, ModelMixin) else "dtype"] = place.dtype
    if not any(folder.glob("*model.safetensors*")) and any(folder.glob("*.fp16.safetensors*")):
        options["variant"] = "fp16"
    module = cls.from_pretrained(folder, **options, **place.loading(part))
    return in_place(place.put(module), part, place)


def in_place(module: Any, part: PartInfo, place: Place) -> Part:
    """What has just been read, as a part that is where the place says."""
    return Part(module, part.role, place.device, place.dtype)
