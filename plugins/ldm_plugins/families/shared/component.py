"""The components of a model folder: which they may be, and reading one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ldm_core.contracts import Part, PartInfo, Place
from ldm_core.model.configs import read_config
from ldm_core.model.from_folder import read_module, shaped_module
from ldm_core.model.gguf_header import read_header_of_weights
from ldm_core.model.loading import check_finite, check_finite_as_read
from ldm_core.model.weight_files import find_weights, read_headers
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


PROCESSORS = {"PixtralProcessor"}
"""Classes that are a tokenizer and what prepares pictures, of which the first alone is used."""


SOUND_TOKENIZERS = {"AceStepAudioTokenizer"}
"""Classes of networks that make codes of sounds, and are no tokenizers of text."""


def is_tokenizer(cls: str) -> bool:
    """Whether a class is one of tokenizers of text, which have no weights."""
    return ("Tokenizer" in cls or cls in PROCESSORS) and cls not in SOUND_TOKENIZERS


def read_part(folder: Path, part: PartInfo, place: Place, file: Path | None = None) -> Part:
    """A component from a folder, from safetensors alone, frozen and in its place.

    On the device ``meta`` it is made of its config alone: its shapes without its weights.

    Args:
        folder: the component's own.
        file: where its weights are, when they are not in the folder; it is then made on shapes.
    Raises:
        LdmError: for whatever it is that keeps it from being read as it was saved.
    """
    what = f"the {part.name} ({part.cls}) in {folder}"
    cls = find_class("AutoTokenizer" if part.cls in PROCESSORS else part.cls)
    if is_tokenizer(part.cls):
        with quiet(what):
            tokenizer = read_tokenizer(cls, folder, what)
        return in_place(tokenizer, part, place)
    check_component(read_config(folder), folder / "config.json")
    diffusers = issubclass(cls, find_class("ModelMixin"))
    if (place.reads_to(part) or place.device).type == "meta":
        alone = None if file is None else {file.name: read_header_of_weights(file)}
        with quiet(what):
            headers = alone or read_headers(folder)
            shaped = shaped_module(what, folder, cls, diffusers, place.dtype, headers)
        return in_place(place.put(shaped), part, place)
    key = "torch_dtype" if diffusers else "dtype"
    options = {key: place.dtype, **place.loading(part)}
    with quiet(what):
        module = read_module(what, folder, cls, diffusers, **options)
    module = place.put(module, part)
    if part.role == "autoencoder":  # of which a run may need one half
        names = [n for n in find_weights(folder).names if n.endswith(".safetensors")]
        check_finite_as_read(what, module.state_dict(), [folder / name for name in names])
    else:
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
