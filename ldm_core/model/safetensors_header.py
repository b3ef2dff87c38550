"""The header of a safetensors file, read without its tensors, and believed only where it is whole.

What reads the tensors maps the file into memory and takes them from where the header says; so all
of it is checked here first, by the format's own rules (https://github.com/huggingface/safetensors).
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ldm_core.errors import LdmError
from ldm_core.model.reading import strict_json

Shapes = Mapping[str, tuple[int, ...]]

LONGEST = 16 * 2**20
"""Bytes of a header. Of the largest models they have a few hundred thousand, and some LoRA tell
of their training in a few million; the format allows 100 million, which take a minute to read."""
BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I8", "U8", "BOOL"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
"""Of one number, by the name of its type."""
AXES = 16
MOST = 2**62
"""Numbers in one tensor, where none of its sides is 0."""


@dataclass(frozen=True)
class Header:
    """
    Attributes:
        shapes: of each tensor.
        dtypes: as the format names them: ``F32``, ``BF16``, ``F8_E4M3``, ``U8``.
        metadata: what who saved it wrote beside the tensors.
    """

    shapes: Shapes
    dtypes: Mapping[str, str]
    metadata: Mapping[str, str]


def read_header(file: Path) -> Header:
    """A file's header, where it describes the file, byte for byte: each tensor has the bytes that
    its shape and type need, and lies right behind another, up to the end of the file.

    Raises:
        LdmError: it does not, or the file has no header, or cannot be read.
    """
    try:
        about = file.stat()
        if not stat.S_ISREG(about.st_mode):
            raise LdmError(f"{file} is no plain file.")
        size = about.st_size
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= size - 8:
                raise LdmError(f"{file} is no safetensors file, or was cut off ({size} bytes).")
            if length > LONGEST:
                raise LdmError(
                    f"{file} has a safetensors header of {length} bytes; {LONGEST} are the most "
                    "that is read."
                )
            data = stream.read(length)
    except OSError as error:
        raise LdmError(f"{file} cannot be read: {error.strerror or error}") from None
    try:
        table = strict_json(data)
        if not isinstance(table, dict):
            raise ValueError("it is no table")
        metadata = _metadata(table.pop("__metadata__", None))
        tensors = {name: _tensor(name, entry) for name, entry in table.items()}
    except ValueError as error:
        raise LdmError(f"{file} has a broken safetensors header: {error}") from None
    end = 0
    for name, (_, _, begin, after) in sorted(tensors.items(), key=lambda item: item[1][2:]):
        if begin != end:
            raise LdmError(
                f"{file} has a broken safetensors header: {name} begins at byte {begin}, "
                f"and what lies before it ends at {end}"
            )
        end = after
    if size != 8 + length + end:
        raise LdmError(
            f"{file} has {size} bytes where its header says {8 + length + end}: it was cut off or "
            "damaged.",
            "copy or download it again.",
        )
    return Header(
        {name: shape for name, (_, shape, _, _) in tensors.items()},
        {name: dtype for name, (dtype, _, _, _) in tensors.items()},
        metadata,
    )


def _metadata(table: Any) -> dict[str, str]:
    if table is None:
        return {}
    if not isinstance(table, dict) or not all(isinstance(text, str) for text in table.values()):
        raise ValueError("its __metadata__ should be a table of texts")
    return table


def _tensor(name: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    """Type, shape, first byte and byte after the last of a tensor."""
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= {*entry}:
        raise ValueError(f"{name} has no dtype, shape or data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise ValueError(f"{name} is of the type {dtype!r}, which is not known")
    if not _are_counts(shape) or len(shape) > AXES:
        raise ValueError(f"{name} has the shape {shape!r}")
    if not _are_counts(offsets) or len(offsets) != 2:
        raise ValueError(f"{name} has the data_offsets {offsets!r}")
    numbers, sides = 1, 1
    for side in shape:
        numbers, sides = numbers * side, sides * max(side, 1)
        if sides > MOST:
            raise ValueError(f"{name} has the shape {shape!r}")
    needed = numbers * BITS[dtype]
    held = offsets[1] - offsets[0]
    if needed % 8 or held != needed // 8:
        raise ValueError(
            f"{name} is {dtype} of shape {shape!r}, which does not make the {held} bytes that it "
            "has"
        )
    return dtype, tuple(shape), offsets[0], offsets[1]


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(entry, int) and not isinstance(entry, bool) and 0 <= entry < 2**63
        for entry in value
    )
