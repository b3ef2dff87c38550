"""The components of a model folder: which they may be, and reading one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ldm_core.contracts import Part, PartInfo, Place
from ldm_core.model.configs import read_config
from ldm_core.model.from_folder import read_module
from ldm_core.model.loading import check_finite
from ldm_plugins.families.shared.tokenizer_files import read_tokenizer
from ldm_plugins.shared.classes import find_class
from ldm_plugins.shared.config_types import check_component
from ldm_plugins.shared.quiet import quiet

if TYPE_CHECKING:
    import torch


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
    Raises:
        LdmError: for whatever it is that keeps it from being read as it was saved.
    """
    what = f"the {part.name} ({part.cls}) in {folder}"
    cls = find_class(part.cls)
    if is_tokenizer(part.cls):
        with quiet(what):
            tokenizer = read_tokenizer(cls, folder, what)
        return in_place(tokenizer, part, place)
    from diffusers import ModelMixin

    check_component(read_config(folder), folder / "config.json")
    diffusers = issubclass(cls, ModelMixin)
    key = "torch_dtype" if diffusers else "dtype"
    options = {key: place.dtype, **place.loading(part)}
    with quiet(what):
        module = read_module(what, folder, cls, diffusers, **options)
    module = place.put(module)
    check_finite(what, module.state_dict())
    return in_place(module, part, place, options[key])


def in_place(module: Any, part: PartInfo, place: Place, dtype: torch.dtype | None = None) -> Part:
    """What has just been read, as a part that is where the place says.

    Args:
        dtype: in which it was read, where that is not the place's.
    """
    return Part(module, part.role, place.device, dtype or place.dtype)


def widened(part: Part, place: Place) -> Part:
    """A part that has just been read, computing in float32 where the others compute in float16;
    its matrices are kept as they are."""
    import torch

    from ldm_core.model.stored_weight import compute_in

    if place.compute_dtype is not torch.float16:
        return part
    compute_in(part.module, torch.float32)
    return replace(part, dtype=torch.float32)
