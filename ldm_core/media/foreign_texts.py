"""What other programs wrote into a picture of how it was made."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ldm_core.contracts.files import expanded
from ldm_core.media import a1111_text, comfyui_graph
from ldm_core.media.exif import any_comment
from ldm_core.media.png_chunks import LONGEST, MOST, SIGNATURE, international, unpacked
from ldm_core.media.recorded import Recorded

OTHERS = {
    "invokeai_metadata": "InvokeAI",
    "sd-metadata": "InvokeAI",
    "fooocus_scheme": "Fooocus",
    "sui_image_params": "SwarmUI",
}
"""Programs that are told apart by a keyword, and not read."""


def recorded_in(path: Path) -> Recorded | None:
    """What another program says of a picture; None where none does, or what says it is broken or
    longer than `LONGEST`.

    Raises:
        OSError: the file is not there, or cannot be read.
    """
    texts = dict(_texts(expanded(path)))
    if a1111_text.KEYWORD in texts:
        read = a1111_text.read_text(texts[a1111_text.KEYWORD])
        if read is not None:
            return read
        if "sui_image_params" in texts[a1111_text.KEYWORD][:200]:
            return _unread("SwarmUI")
    if any(comfyui_graph.is_json(texts.get(name)) for name in comfyui_graph.KEYWORDS):
        return comfyui_graph.read_graph(texts.get("prompt"))
    if texts.get("Software") == "NovelAI":
        return _unread("NovelAI")
    return next((_unread(OTHERS[name]) for name in texts if name in OTHERS), None)


def _unread(program: str) -> Recorded:
    return Recorded(program, unread="what it says of the picture is not read.")


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    """Keyword and text, as far as there are such that can be read."""
    with path.open("rb") as file:
        if file.read(len(SIGNATURE)) == SIGNATURE:
            yield from _in_png(file)
            return
    try:
        comment = any_comment(path)
    except ValueError:
        return
    if comment is not None:
        yield a1111_text.KEYWORD, comment


def _in_png(file: BinaryIO) -> Iterator[tuple[str, str]]:
    for _ in range(MOST):
        head = file.read(8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if len(head) < 8 or kind == b"IEND":
            return
        if kind not in (b"tEXt", b"zTXt", b"iTXt") or length > LONGEST:
            file.seek(length + 4, 1)
            continue
        body = file.read(length)
        file.seek(4, 1)
        entry = international(body) if kind == b"iTXt" else _latin(body, kind == b"zTXt")
        if entry is not None:
            yield entry


def _latin(body: bytes, packed: bool) -> tuple[str, str] | None:
    """Keyword and text of a tEXt or zTXt chunk; None where it is broken."""
    keyword, zero, rest = body.partition(b"\0")
    try:
        text = unpacked(rest[1:]) if packed else rest
    except zlib.error:
        return None
    return (keyword.decode("latin-1"), text.decode("latin-1")) if zero else None
