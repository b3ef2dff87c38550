"""The header of a GGUF file, read without its tensors, and believed only where it is whole.

GGUF is the format of ggml (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): a number of
keys with values, a number of tensors with shapes, and then their bytes, packed in blocks of few
bits. The package ``gguf`` reads the tensors; it follows counts to any end, so all of them are
checked here first. Nothing in the format is a program.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ldm_core.errors import LdmError
from ldm_core.model.safetensors_header import MOST, Header, read_header

SUFFIX = ".gguf"
VERSIONS = (2, 3)
SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a value, by the number of its type."""
TEXT, ARRAY, UINT32 = 8, 9, 4
AXES = 4
ORIGINAL_SHAPE = "comfy.gguf.orig_shape."
"""How keys begin that give a tensor another shape than it is kept in."""


def read_gguf_header(file: Path) -> Header:
    """A file's header: shapes in torch's order, the types by ggml's names, and texts.

    Raises:
        LdmError: it describes what the file does not hold, or the package gguf is not installed,
            which knows how many bytes a block of each type has.
    """
    try:
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
    except ImportError:
        raise LdmError(
            f"the file {file} needs the package gguf.", "pip install 'ldm-core[gguf]'"
        ) from None
    names = {int(kind): (kind.name, GGML_QUANT_SIZES[kind]) for kind in GGMLQuantizationType}
    try:
        with file.open("rb") as stream:
            return _read(_Reader(stream, file.stat().st_size), names)
    except OSError as error:
        raise LdmError(f"{file} cannot be read: {error.strerror or error}") from None
    except (ValueError, struct.error) as error:
        raise LdmError(
            f"{file} has a broken GGUF header: {error}", "copy or download it again."
        ) from None


def read_header_of_weights(file: Path) -> Header:
    """The header of a safetensors or GGUF file that is seen to be whole."""
    return read_gguf_header(file) if file.suffix == SUFFIX else read_header(file)


class _Reader:
    """Numbers and texts, one after the other, within a file."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self.size = size

    @property
    def at(self) -> int:
        return self._stream.tell()

    def take(self, count: int) -> bytes:
        if count > self.size - self.at:
            raise ValueError(f"it was cut off at byte {self.size}")
        return self._stream.read(count)

    def number(self, form: str) -> Any:
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))[0]

    def text(self) -> str:
        return self.take(self.number("Q")).decode("utf-8")

    def value(self, kind: int) -> Any:
        """A text or whole number of 32 bits; of any other kind it is passed over, and None."""
        if kind == TEXT:
            return self.text()
        if kind == UINT32:
            return self.number("I")
        if kind in SCALARS:
            self.take(SCALARS[kind])
        elif kind == ARRAY:
            inner, count = self.number("I"), self.number("Q")
            if inner in SCALARS:
                self.take(SCALARS[inner] * count)
            elif inner == TEXT and count <= self.size:
                for _ in range(count):
                    self.text()
            else:
                raise ValueError(f"it has a list of type {inner} with {count} entries")
        else:
            raise ValueError(f"it has a value of type {kind}, which is not known")
        return None


def _read(reader: _Reader, names: dict[int, tuple[str, tuple[int, int]]]) -> Header:
    if reader.take(4) != b"GGUF":
        raise ValueError("it does not begin with GGUF")
    version = reader.number("I")
    if version not in VERSIONS:
        raise ValueError(f"its version is {version}; {' and '.join(map(str, VERSIONS))} are read")
    tensors, keys = reader.number("Q"), reader.number("Q")
    values = {}
    for _ in _counted(keys, reader):
        key = reader.text()
        values[key] = reader.value(reader.number("I"))
    reshaped = [key for key in values if key.startswith(ORIGINAL_SHAPE)]
    if reshaped:
        raise ValueError(
            f"{reshaped[0].removeprefix(ORIGINAL_SHAPE)} is kept in another shape than it has, "
            "which Diffusers does not put right"
        )
    shapes: dict[str, tuple[int, ...]] = {}
    kinds, places = {}, []
    for _ in _counted(tensors, reader):
        name, axes = reader.text(), reader.number("I")
        if name in shapes or axes > AXES:
            raise ValueError(f"{name} is there twice, or has {axes} axes")
        shape = tuple(reader.number("Q") for _ in range(axes))[::-1]
        kind, offset = reader.number("I"), reader.number("Q")
        if kind not in names or not all(0 < side < MOST for side in shape):
            raise ValueError(f"{name} has the type {kind} and the shape {shape}")
        kinds[name], (block, size) = names[kind]
        if shape and shape[-1] % block:
            raise ValueError(f"{name} has rows of {shape[-1]}, no multiple of {block}")
        shapes[name] = shape
        places.append((name, offset, math.prod(shape) // block * size))
    alignment = values.get("general.alignment") or 32
    start = -(-reader.at // alignment) * alignment
    for name, offset, size in places:
        if start + offset + size > reader.size:
            raise ValueError(f"{name} ends beyond the file's {reader.size} bytes")
    texts = {key: value for key, value in values.items() if isinstance(value, str)}
    return Header(shapes, kinds, texts)


def _counted(count: int, reader: _Reader) -> Iterator[int]:
    """So many entries, each of which has some bytes of the file."""
    if count > reader.size:
        raise ValueError(f"it says that it has {count} entries")
    yield from range(count)
