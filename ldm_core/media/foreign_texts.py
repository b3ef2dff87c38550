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
LONG = {a1111_text.KEYWORD: "A1111", **dict.fromkeys(comfyui_graph.KEYWORDS, "ComfyUI"), **OTHERS}
"""Whose text it is, by its keyword alone, where it is too long."""
MOST_LETTERS = 79
"""Of a keyword (PNG 1.2, 4.2.3)."""
TOO_LONG = "what it says of the picture is longer than is read."


def recorded_in(path: Path) -> Recorded | None:
    """What another program says of a picture; None where none does, or what says it is broken or
    longer than `LONGEST`.

    Raises:
        OSError: the file is not there, or cannot be read.
    """
    texts, long_ones = _texts(expanded(path))
    if a1111_text.KEYWORD in texts:
        read = a1111_text.read_text(texts[a1111_text.KEYWORD])
        if read is not None:
            return read
        if "sui_image_params" in texts[a1111_text.KEYWORD][:200]:
            return _unread("SwarmUI")
        if a1111_text.is_too_long(texts[a1111_text.KEYWORD]):
            return _unread("A1111", TOO_LONG)
    if any(comfyui_graph.is_json(texts.get(name)) for name in comfyui_graph.KEYWORDS):
        return comfyui_graph.read_graph(texts.get("prompt"))
    if texts.get("Software") == "NovelAI":
        return _unread("NovelAI")
    if others := [OTHERS[name] for name in texts if name in OTHERS]:
        return _unread(others[0])
    return next((_unread(LONG[name], TOO_LONG) for name in long_ones if name in LONG), None)


def _unread(program: str, why: str = "what it says of the picture is not read.") -> Recorded:
    return Recorded(program, unread=why)


def _texts(path: Path) -> tuple[dict[str, str], list[str]]:
    """Texts by their keywords, as far as there are such that can be read; and the keywords of those
    that are longer than `LONGEST`."""
    with path.open("rb") as file:
        if file.read(len(SIGNATURE)) == SIGNATURE:
            entries = [*_in_png(file)]
            texts = {name: text for name, text in entries if text is not None}
            return texts, [name for name, text in entries if text is None]
    try:
        comment = any_comment(path)
    except ValueError:
        comment = None
    return ({} if comment is None else {a1111_text.KEYWORD: comment}), []


def _in_png(file: BinaryIO) -> Iterator[tuple[str, str | None]]:
    """Keyword and text of each; None in place of one that is too long."""
    for _ in range(MOST):
        head = file.read(8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if len(head) < 8 or kind == b"IEND":
            return
        if kind not in (b"tEXt", b"zTXt", b"iTXt"):
            file.seek(length + 4, 1)
            continue
        if length > LONGEST:
            begin = file.read(MOST_LETTERS + 1)
            file.seek(length - len(begin) + 4, 1)
            yield begin.partition(b"\0")[0].decode("latin-1"), None
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
