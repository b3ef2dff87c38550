"""Data sets in folders as lines, read by the library `datasets` from what lies there alone: nothing
is downloaded, no code of the folder is run, and nothing is copied into a cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ldm_core.contracts.files import files_in
from ldm_core.errors import LdmError
from ldm_core.jobs.lines import Lines, Row, gathered
from ldm_core.media.names import write_named

SAVED = ("state.json", "dataset_dict.json")
"""What `Dataset.save_to_disk` leaves in a folder, of one data set and of several."""
PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
BUILDERS = {".parquet": "parquet", ".arrow": "arrow"}
"""What reads files of rows, by their suffix."""


def read_data_set(path: Path, extracted: Path, fresh: Path | None = None) -> Lines:
    """The rows of a data set: a folder of parquet or arrow files, one that was saved by
    `Dataset.save_to_disk`, a folder of pictures (with ``metadata.csv`` or ``.jsonl``), or a single
    file of rows.

    Args:
        extracted: a folder for pictures that the rows hold themselves, which manifests could not
            name otherwise; it is made where it is needed.
        fresh: where those are written that it has not yet; the same folder where None.
    Raises:
        LdmError: it is none, or has several splits, or `datasets` is not installed.
    """
    try:
        import datasets
    except ImportError:
        raise LdmError(
            f"'{path}' is a data set, and the library that reads those is not installed.",
            "pip install 'ldm-core[datasets]' installs it.",
        ) from None
    try:
        with TemporaryDirectory(prefix="ldm-inputs-") as cache, _uncounted(datasets):
            rows, columns = _rows(datasets, path, cache)
            folder = path if path.is_dir() else path.parent
            digest = hashlib.sha256()
            folders = [f.absolute() for f in (extracted, fresh) if f is not None]
            table = _told(rows, columns, folder.absolute(), folders, digest.update)
            lines = gathered(path, folder.absolute(), table, False, "")
    except LdmError:
        raise
    except Exception as error:  # whatever the readers of its formats make of a broken file
        reason = " ".join(str(error).split())
        raise LdmError(
            f"the data set '{path}' cannot be read: {type(error).__name__}: {reason[:300]}"
        ) from error
    return Lines(lines.path, lines.folder, lines.lines, lines.bad, False, digest.hexdigest())


@contextmanager
def _uncounted(datasets: Any) -> Iterator[None]:
    """The library tells the Hub of each reader that is used, also for files that lie here; not
    while it reads for a job."""
    config = datasets.config
    before, config.HF_UPDATE_DOWNLOAD_COUNTS = config.HF_UPDATE_DOWNLOAD_COUNTS, False
    try:
        yield
    finally:
        config.HF_UPDATE_DOWNLOAD_COUNTS = before


def _rows(datasets: Any, path: Path, cache: str) -> tuple[Any, list[str]]:
    """The rows, and which of their columns are pictures, which stay files.

    Args:
        cache: a folder that the library makes, and puts nothing into while it streams.
    """
    streamed = {"streaming": True, "cache_dir": cache}
    if path.is_file():
        builder = BUILDERS[path.suffix.lower()]
        splits = datasets.load_dataset(builder, data_files=str(path), **streamed)
    elif any((path / name).is_file() for name in SAVED):
        saved = datasets.load_from_disk(str(path))
        splits = saved if isinstance(saved, dict) else {"train": saved}
    else:
        splits = datasets.load_dataset(**_named(path), data_dir=str(path), **streamed)
    if len(splits) != 1:
        raise LdmError(
            f"the data set '{path.name}' has {len(splits)} splits: {', '.join(map(str, splits))}.",
            "give the folder, or the file, of one of them.",
        )
    (rows,) = splits.values()
    features = rows.features or {}
    columns = [n for n, feature in features.items() if isinstance(feature, datasets.Image)]
    for name in columns:
        rows = rows.cast_column(name, datasets.Image(decode=False))
    return rows, columns


def _named(path: Path) -> dict[str, Any]:
    """What reads a folder, by the files in it."""
    suffixes = {file.suffix.lower() for file in files_in(path)}
    for suffix, builder in BUILDERS.items():
        if suffix in suffixes:
            return {"path": builder}
    if suffixes & PICTURES:
        return {"path": "imagefolder", "drop_labels": True}
    raise LdmError(
        f"the folder '{path}' holds no data set: no parquet or arrow files, and no pictures.",
        "a file of prompts is given by its own name.",
    )


def _told(
    rows: Any,
    columns: list[str],
    folder: Path,
    extracted: Sequence[Path],
    digest: Callable[[bytes], None],
) -> Iterator[Row]:
    for number, row in enumerate(rows, 1):
        values = dict(row)
        for name in columns:
            if values[name] is not None:
                values[name] = _file(values[name], folder, extracted)
        digest(
            json.dumps(_lasting(values, [folder, *extracted]), sort_keys=True, default=str).encode()
        )
        yield number, values


def _file(picture: Mapping[str, Any], folder: Path, extracted: Sequence[Path]) -> str:
    """The file of a picture in a row; written to the last of some folders, where the row holds it
    itself and none of them has it."""
    data, name = picture["bytes"], picture["path"]
    if data is None:
        return str(folder / name)
    suffix = Path(name or "").suffix or ".png"
    paths = [f / f"{hashlib.sha256(data).hexdigest()}{suffix}" for f in extracted]
    path = next((path for path in paths if path.exists()), paths[-1])
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            write_named(path, lambda fresh: fresh.write_bytes(data))
    return str(path)


def _lasting(values: Mapping[str, Any], folders: Sequence[Path]) -> dict[str, Any]:
    """Values that are the same wherever folders are."""
    lasting = dict(values)
    for name, value in values.items():
        if isinstance(value, str):
            inside = (f"{folder}/" for folder in folders if value.startswith(f"{folder}/"))
            lasting[name] = value.removeprefix(next(inside, ""))
    return lasting
