"""The header of a safetensors file, read without its tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ldm_core.errors import LdmError

Shapes = Mapping[str, tuple[int, ...]]


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
    """A file's header; sees that the file has as many bytes as the header says.

    Raises:
        LdmError: it has fewer or more, or no header.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= min(size - 8, 100_000_000):
            raise LdmError(f"{file} is no safetensors file, or was cut off ({size} bytes).")
        try:
            header = json.loads(stream.read(length))
            metadata = header.pop("__metadata__", None) or {}
            ends = [tensor["data_offsets"][1] for tensor in header.values()]
            shapes = {name: tuple(tensor["shape"]) for name, tensor in header.items()}
            dtypes = {name: str(tensor["dtype"]) for name, tensor in header.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LdmError(f"{file} has a broken safetensors header: {error}") from None
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise LdmError(
            f"{file} has {size} bytes where its header says {expected}: it was cut off or damaged.",
            "copy or download it again.",
        )
    return Header(shapes, dtypes, metadata)
