"""Inputs of a call, an entry for each image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ldm_core.contracts import Input
from ldm_core.errors import LdmError
from ldm_core.values import plain


def spread(
    values: Mapping[str, Any], declared: Mapping[str, Input], count: int
) -> dict[str, list[Any]]:
    """One entry of every input an image.

    Args:
        values: what is given, by name; a list has an entry for each image.
        declared: every input of the pipeline.
        count: of images.
    Raises:
        LdmError: one is missing, has another number of entries, or differs between images and is
            the same for all.
    """
    entries_of: dict[str, list[Any]] = {}
    for name, one in declared.items():
        if name not in values and one.required:
            raise LdmError(f"this pipeline needs '{name}'.")
        if name not in values:
            entries_of[name] = [one.default] * count
            continue
        value = values[name]
        entries = list(value) if is_one_each(value) else [value] * count
        if len(entries) != count:
            raise LdmError(f"{len(entries)} entries of '{name}' for {count} images.")
        if not one.each and len({*map(id, entries)}) > 1:
            # as texts: a list has no hash, NaN is not itself, and tensors compare by element
            several = dict.fromkeys(map(str, entries))
            if len(several) > 1:
                raise LdmError(
                    f"the {name} should be the same for all images of a run, not "
                    f"{', '.join(several)}."
                )
        entries_of[name] = [plain(entry) for entry in entries]
    return entries_of


def is_one_each(value: Any) -> bool:
    """Whether an input says something else of each image: a list does, unless it is of tables,
    which are one thing for all images."""
    if not isinstance(value, list | tuple):
        return False
    return not value or not all(isinstance(entry, Mapping) for entry in value)
