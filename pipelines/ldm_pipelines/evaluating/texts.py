"""What pictures are of, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ldm_core.contracts.files import expanded
from ldm_core.errors import LdmError
from ldm_core.media.picture_manifests import manifest_in
from ldm_pipelines.evaluating.pictures import Entry
from ldm_pipelines.tables import read_table

TABLES = ("metadata.jsonl", "metadata.csv")
"""Of a folder of pictures, in the layout that the `datasets` library reads."""
COLUMNS = ("text", "prompt", "caption")


def texts_of(source: Path, entries: Sequence[Entry]) -> dict[Path, str]:
    """The text of each picture: of the folder's table of metadata, or the prompt of its manifest.

    Args:
        source: the folder, or a picture.
    Raises:
        LdmError: a picture has none.
    """
    source = expanded(source)
    told = _of_table(source) if source.is_dir() else {}
    texts: dict[Path, str] = {}
    for entry in entries:
        text = told.get(entry.path) or _of_manifest(entry.path)
        if text is None:
            raise LdmError(
                f"no text is known of '{entry.path}'.",
                "it is the prompt of its manifest, or the column 'text' of a metadata.jsonl or "
                "metadata.csv in the folder, beside 'file_name'.",
            )
        texts[entry.path] = text
    return texts


def _of_table(folder: Path) -> Mapping[Path, str]:
    there = [folder / name for name in TABLES if (folder / name).is_file()]
    if len(there) > 1:
        raise LdmError(f"'{folder}' has both {' and '.join(TABLES)}; leave one.")
    if not there:
        return {}
    rows = read_table(there[0])
    column = next((name for name in COLUMNS if name in rows[0]), None)
    if "file_name" not in rows[0] or column is None:
        return {}  # labels of another kind
    return {
        folder / str(row["file_name"]): str(row[column]) for row in rows if row[column] is not None
    }


def _of_manifest(path: Path) -> str | None:
    inputs = (manifest_in(path) or {}).get("inputs")
    prompt = inputs.get("prompt") if isinstance(inputs, dict) else None
    return prompt if isinstance(prompt, str) else None
