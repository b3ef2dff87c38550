"""The pictures of a folder, read in batches of one size."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ldm_core.contracts.files import expanded
from ldm_core.errors import LdmError, LdmWarning
from ldm_pipelines.folders import files_under
from ldm_pipelines.parts import open_picture

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
IN_TIME = (".avi", ".flac", ".mkv", ".mov", ".mp4", ".ogg", ".wav", ".webm")
"""What holds videos and sounds."""


@dataclass(frozen=True)
class Entry:
    """A picture that can be read.

    Attributes:
        name: within its folder, without the suffix.
        size: width and height.
    """

    path: Path
    name: str
    size: tuple[int, int]


def entries_in(source: Path, skip_bad: bool = False) -> list[Entry]:
    """The pictures of a folder and of those within it, in the order of their names, each read once
    to see that it can be; or the picture of a file.

    Args:
        skip_bad: leave out what cannot be read, and say so.
    Raises:
        LdmError: there is no such folder, no picture in it, or one that cannot be read.
    """
    source = expanded(source)
    if source.is_file():
        if source.suffix.lower() in IN_TIME:
            raise _in_time(source, 1)
        return [entry_of(source, source.stem)]
    if not source.is_dir():
        raise LdmError(f"there is no folder '{source}'.")
    files = files_under(source, SUFFIXES)
    others = len(files_under(source, IN_TIME))
    if not files:
        if others:
            raise _in_time(source, others)
        raise LdmError(f"the folder '{source}' holds no pictures ({', '.join(SUFFIXES)}).")
    if others:
        _note(f"'{source}' holds videos or sounds too ({others}), which are left out")
    entries: list[Entry] = []
    for file in files:
        name = file.relative_to(source).with_suffix("").as_posix()
        try:
            entries.append(entry_of(file, name))
        except LdmError as error:
            if not skip_bad:
                raise LdmError(
                    error.message, "--skip-bad leaves out what cannot be read."
                ) from None
            _note(f"{error.message.rstrip('.')}; it is left out")
    if not entries:
        raise LdmError(f"none of the pictures in '{source}' can be read.")
    return entries


def _in_time(source: Path, count: int) -> LdmError:
    return LdmError(
        f"pictures are measured, and '{source}' holds none, but videos or sounds ({count}).",
        "`ldm` writes a video's frames as pictures with --frames-to FOLDER; ffmpeg takes them out "
        "of any file.",
    )


def entry_of(path: Path, name: str) -> Entry:
    """A picture, which is read once to see that it can be.

    Raises:
        LdmError: it cannot be read.
    """
    return Entry(path, name, open_picture(path, 3, "picture").size)


def batches(entries: Sequence[Entry], size: int) -> Iterator[list[Entry]]:
    """Those that stand together and are of one size, at most so many."""
    batch: list[Entry] = []
    for entry in entries:
        if batch and (len(batch) == size or entry.size != batch[0].size):
            yield batch
            batch = []
        batch.append(entry)
    if batch:
        yield batch


def pixels(entries: Sequence[Entry], device: str) -> Tensor:
    """Pictures of one size, (batch, 3, height, width) float32 in [0, 1]."""
    import numpy as np
    import torch

    arrays = [np.asarray(open_picture(entry.path, 3, "picture")) for entry in entries]
    stacked = torch.from_numpy(np.stack(arrays)).to(device)
    return stacked.permute(0, 3, 1, 2).float() / 255


def _note(text: str) -> None:
    warnings.warn(text, LdmWarning, stacklevel=2)
