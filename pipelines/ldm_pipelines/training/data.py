"""Where training pictures come from: `shapes`, `digits`, or a folder of images.

A source is asked for the batch of a step; the answer depends on the seed, the step and the
process alone, so that a run which was interrupted continues with the very batches it would
have had.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ldm_core.composition.limits import check_held
from ldm_core.contracts.files import to_read
from ldm_core.errors import LdmError
from ldm_pipelines.folders import files_under
from ldm_pipelines.tables import json_lines, read_text

Pictures = npt.NDArray[np.uint8]
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}


class Source(Protocol):
    """Pictures with captions, endless."""

    side: int

    def draw(self, rng: np.random.Generator, count: int) -> tuple[Pictures, list[str]]:
        """Pictures of shape (count, side, side, 3) and their captions."""
        ...

    def texts(self) -> list[str]:
        """Texts that between them hold every word of the captions."""
        ...


class ShapesSource:
    """The drawn world without the combinations that are held out."""

    side = 64

    def draw(self, rng: np.random.Generator, count: int) -> tuple[Pictures, list[str]]:
        from ldm_pipelines.shapes.world import draw_picture, draw_scene

        scenes = [draw_scene(rng) for _ in range(count)]
        return np.stack([draw_picture(s, rng) for s in scenes]), [s.caption for s in scenes]

    def texts(self) -> list[str]:
        from ldm_pipelines.shapes.scenes import COLOURS, PLACES, SHAPES, SIZES

        return [*SIZES, *COLOURS, *SHAPES, *PLACES, "a on background"]


class DigitsSource:
    """The training half of the handwritten digits, varied a little; the caption is the digit."""

    side = 32

    def draw(self, rng: np.random.Generator, count: int) -> tuple[Pictures, list[str]]:
        from ldm_pipelines.digits.data import halves, to_pictures, varied

        half = halves()[0]
        numbers = rng.integers(len(half.cells), size=count)
        pictures = to_pictures(varied(half.cells[numbers], rng))
        return pictures, [str(label) for label in half.labels[numbers]]

    def texts(self) -> list[str]:
        return [str(digit) for digit in range(10)]


class FolderSource:
    """A folder of images, scaled and centre-cropped to one square size.

    Captions stand in ``metadata.jsonl``, one ``{"file_name": …, "text": …}`` a line, as in the
    `datasets` library's imagefolder; without it the folder in which a picture lies is its caption,
    where each lies in one, and else every caption is empty.

    Raises:
        LdmError: no images, one that cannot be read, or metadata that does not fit, naming the
            file and the line.
    """

    def __init__(self, folder: Path, *, side: int = 64, need_captions: bool = False) -> None:
        if not folder.is_dir():
            raise LdmError(
                f"data must be 'shapes', 'digits' or a folder of images; no folder {folder}"
            )
        self.side = side
        files = files_under(folder, SUFFIXES)
        if not files:
            raise LdmError(f"no images ({', '.join(sorted(SUFFIXES))}) in {folder}")
        names = [p.relative_to(folder).as_posix() for p in files]
        captions = _read_metadata(folder, names, need_captions)
        without = [n for n in names if n not in captions]
        if need_captions and without:
            raise LdmError(f"{folder / 'metadata.jsonl'} has no line for {without[0]}")
        self.captions = [captions.get(n, "") for n in names]
        check_held(f"{len(files)} pictures at {side} pixels", len(files) * side**2 * 3)
        self.pictures = np.empty((len(files), side, side, 3), np.uint8)
        for i, file in enumerate(files):
            self.pictures[i] = _read_picture(file, side)

    def draw(self, rng: np.random.Generator, count: int) -> tuple[Pictures, list[str]]:
        numbers = rng.integers(len(self.pictures), size=count)
        return self.pictures[numbers], [self.captions[i] for i in numbers]

    def texts(self) -> list[str]:
        return self.captions


def open_source(data: str, *, resolution: int = 64, need_captions: bool = False) -> Source:
    """The source that `data` names: ``shapes``, ``digits`` or a folder's path.

    Raises:
        LdmError: no such folder, or a resolution that does not fit.
    """
    if resolution <= 0 or resolution % 16:
        raise LdmError(f"resolution must be a positive multiple of 16, not {resolution}")
    worlds: dict[str, type[ShapesSource | DigitsSource]] = {
        "shapes": ShapesSource,
        "digits": DigitsSource,
    }
    if data in worlds:
        source = worlds[data]()
        if resolution != source.side:
            raise LdmError(
                f"{data} come at {source.side} pixels, not {resolution}",
                f"give resolution {source.side}, or a folder of images, which are scaled",
            )
        return source
    return FolderSource(to_read(data), side=resolution, need_captions=need_captions)


def step_rng(seed: int, step: int, rank: int, purpose: int = 0) -> np.random.Generator:
    """The generator that belongs to one step of one process and to nothing else."""
    return np.random.default_rng([seed, purpose, step, rank])


def _read_picture(file: Path, side: int) -> npt.NDArray[np.uint8]:
    from PIL import Image, ImageOps

    from ldm_core.media.pictures import as_mode, open_picture

    name = "training picture"  # without the file's, so that what is said of many is said once
    image = open_picture(file, name)
    try:
        picture = as_mode(image, "RGB", name)
    except LdmError as error:
        raise LdmError(f"{file}: {error.message}", error.hint) from None
    return np.asarray(ImageOps.fit(picture, (side, side), Image.Resampling.LANCZOS))


def _read_metadata(folder: Path, names: Sequence[str], need_captions: bool) -> dict[str, str]:
    """The caption of each picture: of metadata.jsonl, or else the folder that it lies in."""
    file = folder / "metadata.jsonl"
    if not file.exists():
        if all("/" in name for name in names):
            return {name: name.split("/")[-2] for name in names}
        if need_captions:
            raise LdmError(
                f'{file} is missing; give each image a line {{"file_name": …, "text": …}}',
                "or put the pictures of each class into a folder of its name.",
            )
        return {}
    captions = {}
    for number, entry in json_lines(read_text(file, "file"), f"'{file}'"):
        try:
            captions[str(entry["file_name"])] = str(entry["text"])
        except KeyError as error:
            raise LdmError(f"{file}, line {number}: need file_name and text ({error})") from error
    return captions
