"""The table of a comparison in a file: CSV, JSON or Markdown, by the file's suffix."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from ldm_core.errors import LdmError
from ldm_core.media.json_text import json_text
from ldm_core.media.names import check_new, write_whole
from ldm_pipelines.comparing.comparison import Comparison, Shot

SUFFIXES = (".csv", ".json", ".md")


def check_table(path: Path, *, overwrite: bool = False) -> None:
    """Raise `LdmError` for a name that says no format of a table, or that something has."""
    if path.suffix.lower() not in SUFFIXES:
        raise LdmError(f"a table is a file that ends in {', '.join(SUFFIXES)}, not '{path.name}'.")
    check_new(path, overwrite=overwrite, name="table")


def save_table(comparison: Comparison, path: Path, *, overwrite: bool = False) -> None:
    """Write the table in the format of the file's suffix, whole or not at all."""
    form = {".csv": as_csv, ".json": as_json, ".md": as_markdown}[path.suffix.lower()]
    text = form(comparison)
    write_whole(
        path, lambda fresh: fresh.write_text(text, encoding="utf-8", newline=""),
        overwrite=overwrite,
    )  # fmt: skip


def grid(comparison: Comparison) -> tuple[list[str], list[list[Any]]]:
    """Names of columns, and a row for each cell; columns of which no cell says anything are left
    out."""
    rows = comparison.table()
    axes = [one.name for one in comparison.axes]
    facts = ["pictures", "seconds", "evaluations", "together"]
    if all(row["together"] in (None, 1) for row in rows):
        facts.remove("together")
    head = [*axes, *facts, *comparison.columns]
    lines = [
        [*row["axes"].values(), *(row[name] for name in facts), *row["measured"].values()]
        for row in rows
    ]
    if any(row["refused"] for row in rows):
        head.append("refused")
        lines = [[*line, row["refused"]] for line, row in zip(lines, rows, strict=True)]
    return head, lines


def text_of(value: Any) -> str:
    """A value of a table's cell."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def as_csv(comparison: Comparison) -> str:
    """RFC 4180, a line for each cell."""
    head, rows = grid(comparison)
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(head)
    writer.writerows([["" if value is None else value for value in row] for row in rows])
    return file.getvalue()


def as_json(comparison: Comparison) -> str:
    """A list of cells, each with its row of the table and with its pictures."""
    rows = [
        {**row, "shots": [_shot(shot) for shot in cell.shots]}
        for row, cell in zip(comparison.table(), comparison.cells, strict=True)
    ]
    return json_text(rows, indent=2) + "\n"


def as_markdown(comparison: Comparison) -> str:
    """A table as GitHub reads it; what would be marks stands as it is."""
    head, rows = grid(comparison)
    lines = [head, ["---"] * len(head), *([text_of(v) for v in row] for row in rows)]
    marked = [lines[0], *lines[2:]]
    texts = [[_plain(cell) for cell in line] for line in marked]
    texts.insert(1, lines[1])
    return "".join(f"| {' | '.join(line)} |\n" for line in texts)


def _plain(text: str) -> str:
    text = " ".join(text.split()).replace("\\", "\\\\")
    for letter, safe in (("|", "\\|"), ("<", "&lt;"), ("*", "\\*"), ("_", "\\_"), ("`", "\\`")):
        text = text.replace(letter, safe)
    return text


def _shot(shot: Shot) -> dict[str, Any]:
    return {
        "prompt": shot.prompt,
        "seed": shot.seed,
        "file": None if shot.path is None else str(shot.path),
        "seconds": shot.seconds,
        "evaluations": shot.evaluations,
        "together": shot.together,
        "error": shot.error,
    }
