"""The pictures of a folder, read in batches of one size."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from ldm_core.contracts.files import expanded
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.media.made_files import kind_of_file, read_data
from ldm_core.media.picture_manifests import manifest_in
from ldm_pipelines.folders import files_under
from ldm_pipelines.parts import open_picture

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
VIDEOS = (".avi", ".mkv", ".mov", ".mp4", ".webm")
"""Of which each frame is a picture; so it is of a .gif or .webp that moves."""
SOUNDS = (".flac", ".m4a", ".mp3", ".ogg", ".opus", ".wav")
MOVING = (".gif", ".webp")


@dataclass(frozen=True)
class Entry:
    """A picture that can be read.

    Attributes:
        name: within its folder, without the suffix; of a frame with its number.
        size: width and height.
        frame: of the video in the file; None of a picture.
    """

    path: Path
    name: str
    size: tuple[int, int]
    frame: int | None = None


def entries_in(source: Path, skip_bad: bool = False) -> list[Entry]:
    """The pictures of a folder and of those within it, in the order of their names, each read once
    to see that it can be, and the frames of its videos; or those of a file.

    Args:
        skip_bad: leave out what cannot be read, and say so.
    Raises:
        LdmError: there is no such folder, no picture in it, or one that cannot be read.
    """
    source = expanded(source)
    if source.is_file():
        if source.suffix.lower() in SOUNDS:
            raise _sounds(source, 0)
        entries = entries_of(source, source.stem)
        _say_frames(source, entries)
        return entries
    if not source.is_dir():
        raise LdmError(f"there is no folder '{source}'.")
    files = files_under(source, (*SUFFIXES, *VIDEOS))
    sounds = len(files_under(source, SOUNDS))
    if not files:
        if sounds:
            raise _sounds(source, sounds)
        raise LdmError(f"the folder '{source}' holds no pictures ({', '.join(SUFFIXES)}).")
    if sounds:
        _note(f"'{source}' holds sounds too ({sounds}), which are left out")
    entries = []
    for file in files:
        name = file.relative_to(source).with_suffix("").as_posix()
        try:
            entries += entries_of(file, name)
        except LdmError as error:
            if not skip_bad:
                raise LdmError(
                    error.message, "--skip-bad leaves out what cannot be read."
                ) from None
            _note(f"{error.message.rstrip('.')}; it is left out")
    if not entries:
        raise LdmError(f"none of the pictures in '{source}' can be read.")
    _say_frames(source, entries)
    return entries


def _sounds(source: Path, count: int) -> LdmError:
    what = f"holds none, but sounds ({count})" if count else "is a sound"
    return LdmError(
        f"pictures are measured, and '{source}' {what}.",
        "no metric that is here is of sounds.",
    )


def _say_frames(source: Path, entries: Sequence[Entry]) -> None:
    frames = [entry for entry in entries if entry.frame is not None]
    if frames:
        videos = len({entry.path for entry in frames})
        several = "video is" if videos == 1 else "videos are"
        _note(
            f"{videos} {several} measured by frames in '{source}', {len(frames)} in all; intervals "
            "take each frame for a picture by itself, and are too narrow"
        )


def entries_of(path: Path, name: str) -> list[Entry]:
    """The picture of a file, or the frames of the video in it.

    Raises:
        LdmError: it cannot be read.
    """
    suffix = path.suffix.lower()
    moves = suffix in VIDEOS or (suffix in MOVING and kind_of_file(path) == "video")
    if not moves:
        return [entry_of(path, name)]
    frames = _frames(path)
    return [Entry(path, f"{name}/{n:04d}", frame.size, n) for n, frame in enumerate(frames)]


def entry_of(path: Path, name: str) -> Entry:
    """A picture, which is read once to see that it can be.

    Raises:
        LdmError: it cannot be read.
    """
    return Entry(path, name, open_picture(path, 3, "picture").size)


@lru_cache(maxsize=2)
def _frames(path: Path) -> list[Image.Image]:
    """The frames of a video; those of the last two are kept, of pictures and their references."""
    frames: list[Image.Image] = read_data(path, "video", manifest_in(path) or {})
    return [frame.convert("RGB") for frame in frames]


def _picture(entry: Entry) -> Image.Image:
    if entry.frame is None:
        return open_picture(entry.path, 3, "picture")
    return _frames(entry.path)[entry.frame]


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

    arrays = [np.asarray(_picture(entry)) for entry in entries]
    stacked = torch.from_numpy(np.stack(arrays)).to(device)
    return stacked.permute(0, 3, 1, 2).float() / 255


def _note(text: str) -> None:
    warnings.warn(text, LdmWarning, stacklevel=2)
