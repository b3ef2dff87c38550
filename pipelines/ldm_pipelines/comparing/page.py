"""An HTML page of a comparison: one file with all pictures within it, that asks no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from html import escape
from pathlib import Path

from ldm_core.errors import LdmError
from ldm_core.media.names import check_new, write_whole
from ldm_core.media.strips import thumbnail
from ldm_pipelines.comparing.comparison import Cell, Comparison, Shot
from ldm_pipelines.comparing.layout import Page, cost, head_text, pages
from ldm_pipelines.comparing.tables import grid, text_of

TEMPLATE = Path(__file__).with_name("page.html")
CELLS, FACTS = "<!--cells-->", "<!--facts-->"
SUFFIXES = (".html", ".htm")
TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
}
"""Files that a browser shows, by their suffixes."""
MOST = 2**28
"""Bytes of files that a page holds, beyond which browsers take it no more."""
SMALL = 256
"""Pixels, below which a picture is magnified without smoothing."""


def check_page(path: Path, *, overwrite: bool = False) -> None:
    """Raise `LdmError` for a name that is no page's, or that something has."""
    if path.suffix.lower() not in SUFFIXES:
        raise LdmError(f"a page is a file that ends in {SUFFIXES[0]}, not '{path.name}'.")
    check_new(path, overwrite=overwrite, name="page")


def save_page(comparison: Comparison, path: Path, *, overwrite: bool = False) -> None:
    """Write the page, whole or not at all."""
    text = as_html(comparison)
    write_whole(path, lambda fresh: fresh.write_text(text, encoding="utf-8"), overwrite=overwrite)


def as_html(comparison: Comparison) -> str:
    """The page; whatever text comes from outside is escaped.

    Raises:
        LdmError: the pictures are more than a page can hold, or one cannot be read.
    """
    files = [shot.path for cell in comparison.cells for shot in cell.made if shot.path]
    size = sum(file.stat().st_size for file in files)
    if size > MOST:
        raise LdmError(
            f"the pictures have {size / 2**20:.0f} MiB together, and a page holds {MOST >> 20}.",
            "compare fewer, or smaller ones; the pictures, the sheet and the table stay.",
        )
    head, rest = TEMPLATE.read_text(encoding="utf-8").split(CELLS)
    middle, end = rest.split(FACTS)
    cells = "\n".join(line for page in pages(comparison) for line in _page(page))
    return f"{head}{cells}{middle}{_facts(comparison)}{end}"


def _page(page: Page) -> Iterator[str]:
    if page.title:
        yield f"<h2>{escape(page.title)}</h2>"
    yield '<table class="grid">'
    heads = [escape(head_text(page.across, at)) for at in range(len(page.across.labels))]
    yield "".join(["<tr><th></th>", *(f'<th scope="col">{head}</th>' for head in heads), "</tr>"])
    for at, row in enumerate(page.grid):
        cells = "".join(_cell(cell, shot) for cell, shot in row)
        yield f'<tr><th scope="row">{escape(head_text(page.down, at))}</th>{cells}</tr>'
    yield "</table>"


def _cell(cell: Cell, shot: Shot) -> str:
    if shot.path is None:
        return f'<td><div class="refused">refused: {escape(shot.error or "")}</div></td>'
    seed = "" if len(cell.shots) == 1 else f", {shot.prompt or ''} seed {shot.seed}"
    name = escape(f"{cell.name}{seed}", quote=True)
    notes = "".join(f'<div class="cost">{escape(line)}</div>' for line in cost(shot))
    picture = f'<button type="button" data-name="{name}">{_image(shot)}</button>'
    return f"<td>{picture}{_player(shot)}{notes}</td>"


def _image(shot: Shot) -> str:
    """A picture itself, or a strip of frames, or the waveform and spectrogram of a sound."""
    assert shot.path is not None
    kind = TYPES.get(shot.path.suffix.lower(), "")
    data = shot.data()
    if shot.kind == "image" and kind.startswith("image/"):
        style = "small" if max(data.size) < SMALL else ""
        return f'<img class="{style}" alt="" src="{_uri(kind, shot.path.read_bytes())}">'
    picture = thumbnail(shot.kind, data)
    if picture is None:
        return "<span>no picture shows it</span>"
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return f'<img class="wide" alt="" src="{_uri("image/png", file.getvalue())}">'


def _player(shot: Shot) -> str:
    """What plays a video or a sound."""
    assert shot.path is not None
    kind = TYPES.get(shot.path.suffix.lower())
    if shot.kind == "image" or kind is None:
        return ""
    data = _uri(kind, shot.path.read_bytes())
    if kind.startswith("image/"):  # an animation
        return f'<img class="small" alt="" src="{data}">'
    tag = kind.partition("/")[0]
    return f'<{tag} controls loop src="{data}"></{tag}>'


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _facts(comparison: Comparison) -> str:
    """The table of all cells."""
    head, rows = grid(comparison)
    lines = ["".join(f'<th scope="col">{escape(name)}</th>' for name in head)]
    lines += ["".join(f"<td>{escape(text_of(value))}</td>" for value in row) for row in rows]
    rows_text = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<table class="facts">{rows_text}</table>'
