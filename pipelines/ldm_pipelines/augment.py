"""``ldm augment``."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ldm_core.errors import LdmError
from ldm_core.media.png import save_png
from ldm_pipelines.class_to_image import as_label

if TYPE_CHECKING:
    from ldm_core.run.output import Output
    from ldm_core.run.pipeline import Pipeline

METADATA = "metadata.jsonl"
Row = dict[str, Any]


def augment(
    pipe: Pipeline,
    *,
    out: Path,
    table: Path | None = None,
    classes: list[str] | None = None,
    num_images: Annotated[int, Field(ge=1)] = 1,
    batch_size: Annotated[int, Field(ge=1)] = 8,
    seed: int = 0,
) -> list[Path]:
    """Make a labelled data set, in the layout that the `datasets` library reads as an image folder.

    From a table: pictures, and a metadata.jsonl with a line for each, which holds its file_name,
    its prompt as text, and all columns of its row. From classes: a folder of pictures for each.
    Every picture carries its manifest.

    Args:
        out: Folder for the data set; new or empty.
        table: A .csv or .jsonl file with a row for each prompt or class: columns named as the
            model's inputs, such as prompt, are given to it; all others are labels to be kept.
        classes: Classes by number or name, in place of a table; repeatable.
        num_images: Pictures of each row or class.
        batch_size: Pictures computed at once.
        seed: Of the first picture; the next ones count up.
    """
    if (table is None) == (classes is None):
        raise LdmError("say what to make: a --table, or --classes, and not both.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise LdmError(f"'{out}' is not a new or empty folder; a data set would be mixed with it.")
    declared = pipe.composition.inputs
    if table is not None:
        rows = read_table(table)
    else:
        rows = [{"class_label": as_label(label)} for label in classes or []]
    inputs: dict[str, Any] = {
        name: [row.get(name) for row in rows] for name in declared if name in rows[0]
    }
    for name, one in declared.items():
        if one.required and name not in inputs:
            raise LdmError(f"the model needs '{name}', and the table has no such column.")
    many = [row for row in rows for _ in range(num_images)]
    counts: dict[str, int] = {}
    written: list[Path] = []

    def write(part: Output) -> None:
        for image, manifest in zip(part.images, part.manifests, strict=True):
            row = many[len(written)]
            label = str(row.get("class_label")).replace("/", "-") if table is None else ""
            number = counts[label] = counts.get(label, -1) + 1
            path = out / label / f"{number:06d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            save_png(image, manifest, path)
            written.append(path)
            if table is not None:
                record = {"file_name": path.name, **_line(row), "seed": manifest["seed"]}
                with (out / METADATA).open("a", encoding="utf-8") as file:
                    file.write(json.dumps(record, ensure_ascii=False) + "\n")

    for output in pipe.batches(
        **inputs, seed=seed, num_images_per_prompt=num_images, batch_size=batch_size
    ):
        write(output)
    return [out]


def read_table(path: Path) -> list[Row]:
    """The rows of a .csv or .jsonl file, by column.

    Raises:
        LdmError: it cannot be read, or has no rows, or they have different columns.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LdmError(f"the table '{path}' cannot be read: {error}.") from None
    if path.suffix == ".csv":
        rows: list[Row] = [_typed(row) for row in csv.DictReader(text.splitlines())]
    elif path.suffix == ".jsonl":
        rows = [_parsed(line, number, path) for number, line in _lines(text)]
    else:
        raise LdmError(f"a table is a .csv or .jsonl file, not '{path.name}'.")
    if not rows:
        raise LdmError(f"the table '{path}' has no rows.")
    for number, row in enumerate(rows, 1):
        if row.keys() != rows[0].keys() or None in row:
            raise LdmError(f"row {number} of the table '{path}' has other columns than the first.")
    return rows


def _lines(text: str) -> Sequence[tuple[int, str]]:
    return [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()]


def _parsed(line: str, number: int, path: Path) -> Row:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise LdmError(f"line {number} of the table '{path}' is no JSON: {error}.") from None
    if not isinstance(row, dict):
        raise LdmError(f"line {number} of the table '{path}' should be a JSON object.")
    return row


def _typed(row: Row) -> Row:
    """A row of text with its class as a number, where it is one; empty cells say nothing."""
    return {
        name: (as_label(value) if name == "class_label" else value) if value != "" else None
        for name, value in row.items()
    }


def _line(row: Row) -> Row:
    """A row as metadata: `datasets` and training scripts look for the caption in ``text``."""
    text = {"text": row["prompt"]} if "prompt" in row else {}
    return {**text, **row}
