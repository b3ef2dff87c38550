"""The components of a model folder: which they may be, and reading one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ldm_core.contracts import Part, PartInfo, Place
from ldm_core.errors import LdmError
from ldm_core.model.weight_files import find_weights
from ldm_plugins.shared.classes import find_class
from ldm_plugins.shared.quiet import quiet

LEFT_OVER = ("text_projection.weight", "lm_head.weight", "logit_scale", "position_ids")
"""Of a larger model that an encoder was taken from; the encoder itself is whole without them."""

NOT_WHOLE = "its config.json is of another model, or the weights are not whole."


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
        with quiet(f"the {part.name} in {folder}"):
            tokenizer = cls.from_pretrained(folder, local_files_only=True)
        return in_place(tokenizer, part, place)
    from diffusers import ModelMixin

    what = f"the {part.name} ({part.cls}) in {folder}"
    options: dict[str, Any] = {"use_safetensors": True, "local_files_only": True}
    if issubclass(cls, ModelMixin):
        options["torch_dtype"] = place.dtype
    else:
        # it then reports them, where it would else fail without saying which
        options |= {"dtype": place.dtype, "ignore_mismatched_sizes": True}
    if (variant := find_weights(folder).variant) is not None:
        options["variant"] = variant
    options |= place.loading(part)
    try:
        with quiet(what):
            module, report = cls.from_pretrained(folder, output_loading_info=True, **options)
    except (ValueError, OSError, RuntimeError, ImportError, KeyError) as error:
        if isinstance(error, LdmError) or _out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:300]
        hint = "" if isinstance(error, ImportError) else NOT_WHOLE
        raise LdmError(f"{what} cannot be read: {reason}", hint) from error
    check_report(what, report)
    return in_place(place.put(module), part, place)


def check_report(what: str, report: Mapping[str, Any]) -> None:
    """See that a component got all its weights and no others.

    Both libraries go on with random numbers where a weight is missing.

    Args:
        what: the component, for messages.
        report: ``loading_info`` of ``from_pretrained``.
    Raises:
        LdmError: weights are missing, of other shapes, or left over.
    """
    extra = [name for name in report["unexpected_keys"] if not name.endswith(LEFT_OVER)]
    for names, wrong in (
        (report["missing_keys"], "lacks {} of its weights, such as {}."),
        (report["mismatched_keys"], "has {} weights of other shapes than its config says: {}."),
        (extra, "has {} weights that its config has no place for, such as {}."),
    ):
        if names:
            raise LdmError(f"{what} {wrong.format(len(names), min(map(str, names)))}", NOT_WHOLE)


def _out_of_memory(error: Exception) -> bool:
    import torch

    # the allocator of the CPU has no error of its own
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def in_place(module: Any, part: PartInfo, place: Place) -> Part:
    """What has just been read, as a part that is where the place says."""
    return Part(module, part.role, place.device, place.dtype)
