"""What a writer must do: write the file that it is told, and what it says of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ldm_core.conformance.checks import NotApplicable, Subject, check
from ldm_core.contracts import Shown, Writer
from ldm_core.errors import LdmError
from ldm_core.media.integers import to_integers
from ldm_core.media.made_files import read_data
from ldm_core.media.picture_manifests import read_manifest
from ldm_core.media.pictures import open_picture
from ldm_core.media.sound_files import read_sound
from ldm_core.media.video_files import read_video
from ldm_core.plugins.options import with_options

MANIFEST: Mapping[str, Any] = {"seed": 7, "prompt": "ein Stern – 星", "steps": [1, 2]}
THERE = b"what stood there before\n" * 2000
"""Longer than what a writer writes of such small entries."""
NEAR = 0.1
"""How far a rate may be off, as a share of it: a GIF counts hundredths of a second."""
SIZES = ((16, 24), (1, 1), (33, 7))


@check("writer")
def is_a_writer(subject: Subject) -> str:
    """Its function is marked by `writes`."""
    writer = _writer(subject)
    return f"{writer.kind} {writer.suffix}"


@check("writer")
def writes_that_file(subject: Subject) -> str:
    """It writes the path that it is told, which ends in another suffix than its own, and no other;
    what stood there is replaced."""
    sizes = []
    for shown in _shown(_writer(subject)):
        with _written(_writer(subject), shown, ".ldm-0123.part", there=THERE) as path:
            files = sorted(p.name for p in path.parent.iterdir())
            assert files == [path.name], (
                f"told to write '{path.name}' it leaves {', '.join(files) or 'nothing'}"
            )
            sizes.append(path.stat().st_size)
            assert sizes[-1] > 0, "the file that it writes is empty"
            assert THERE[-100:] not in path.read_bytes(), "it keeps some of what stood there"
    return f"{max(sizes)} bytes"


@check("writer")
def repeats(subject: Subject) -> str:
    """The same entry makes the same bytes, and neither it nor the manifest is changed."""
    writer = _writer(subject)
    for shown in _shown(writer):
        before = _numbers(shown)
        both = []
        for _ in range(2):
            with _written(writer, shown) as path:
                both.append(path.read_bytes())
        assert all(np.array_equal(a, b) for a, b in zip(before, _numbers(shown), strict=True)), (
            "it changes what it writes"
        )
        assert both[0] == both[1], "written again, the file has other bytes"
    return f"{len(both[0])} bytes"


@check("writer")
def readable(subject: Subject) -> str:
    """What Pillow, PyAV or soundfile reads from the file is what was written: of one without loss
    each number of it."""
    writer = _writer(subject)
    if writer.kind in ("video", "audio"):
        return _readable_in_time(writer)
    if writer.kind != "image":
        raise NotApplicable(f"it writes {writer.kind}, for which there is no other reader here")
    worst = 0
    for shown in _shown(writer):
        with _written(writer, shown, f"picture{writer.suffix}") as path:
            try:
                image = open_picture(path)
            except LdmError as error:
                raise NotApplicable(f"there is no reader of it here: {error.message}") from None
            back, mode = np.asarray(image.convert(shown.data.mode)), image.mode
        own = np.asarray(shown.data)
        assert back.shape == own.shape, f"it is read as {back.shape} ({mode}), and was {own.shape}"
        worst = max(worst, int(np.abs(back.astype(int) - own).max()))
        assert worst == 0 or not writer.lossless, (
            f"it says that it is without loss, and a picture is read {worst} of 255 away"
        )
    return "each number" if writer.lossless else f"up to {worst} of 255 away"


@check("writer")
def holds_manifest(subject: Subject) -> str:
    """The manifest is inside where it says so, as `ldm replay` reads it, or else is not."""
    writer = _writer(subject)
    if writer.kind not in ("image", "video", "audio"):
        raise NotApplicable(f"it writes {writer.kind}, whose manifests nothing reads back")
    long = {**MANIFEST, "prompt": "x" * 70_000}
    for manifest in (MANIFEST, long):
        shown = next(iter(_shown(writer)))
        with _written(writer, shown, f"picture{writer.suffix}", manifest) as path:
            try:
                read: Any = read_manifest(path)
            except LdmError as error:
                read = error.message
        if writer.holds(manifest):
            held = isinstance(read, dict) and read.items() >= manifest.items()
            assert held, f"it says that the manifest is inside, and: {str(read)[:80]}"
        else:
            assert not isinstance(read, dict), "it says that no manifest is inside, and there is"
    return "inside" if writer.holds_manifest else "beside"


def _readable_in_time(writer: Writer) -> str:
    """What is read of a video's or sound's file."""
    for shown in _shown(writer):
        with _written(writer, shown, f"made{writer.suffix}") as path:
            manifest = {"extent": {"frames": len(shown.data)}} if writer.kind == "video" else {}
            try:
                back = read_data(path, writer.kind, {**manifest, "rate": shown.rate})
                rate = (read_sound if writer.kind == "audio" else read_video)(path).rate
            except LdmError as error:
                raise NotApplicable(f"there is no reader of it here: {error.message}") from None
        assert rate is None or abs(rate / (shown.rate or rate) - 1) <= NEAR, (
            f"it has {shown.rate:g} frames or samples a second, and {rate:g} a second are read"
        )
        if writer.kind == "audio":
            own, read = to_integers(shown.data)[0], to_integers(back)[0]
        else:
            own, read = (
                np.stack([np.asarray(f.convert("RGB")) for f in v]) for v in (shown.data, back)
            )
        same = own.shape == read.shape
        assert same or not writer.lossless, f"it is read as {read.shape}, and was {own.shape}"
        assert not writer.lossless or np.array_equal(own, read), (
            "it says that it is without loss, and other numbers are read"
        )
    return "each number" if writer.lossless else "it can be read"


def _stacked(frames: Sequence[Image.Image]) -> Any:
    return np.stack([np.asarray(frame.convert("RGB")) for frame in frames])


def _writer(subject: Subject) -> Writer:
    writer = with_options(subject.plugin.loaded, subject.options)
    assert isinstance(writer, Writer), "it is no Writer; mark its function by `writes`"
    return writer


def _shown(writer: Writer) -> Iterator[Shown]:
    """Entries of the kind of medium that it writes.

    Raises:
        NotApplicable: there are none here of that kind.
    """
    random = np.random.default_rng(0)

    def picture(height: int, width: int, channels: int) -> Image.Image:
        shape = (height, width) if channels == 1 else (height, width, channels)
        return Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8))

    if writer.kind == "image":
        for height, width in SIZES:
            yield Shown(picture(height, width, 3))
            yield Shown(picture(height, width, 1))
    elif writer.kind == "video":
        yield Shown([picture(32, 48, 3) for _ in range(5)], 8.0)
    elif writer.kind == "audio":
        yield Shown(random.uniform(-1, 1, (2, 4800)).astype(np.float32), 16_000.0)
    else:
        raise NotApplicable(f"it writes {writer.kind}, of which nothing is known here")


def _numbers(shown: Shown) -> list[Any]:
    entries = shown.data if isinstance(shown.data, list) else [shown.data]
    return [np.array(entry) for entry in entries]


@contextmanager
def _written(
    writer: Writer,
    shown: Shown,
    name: str = "file.part",
    manifest: Mapping[str, Any] = MANIFEST,
    there: bytes = b"",
) -> Iterator[Path]:
    """The file, alone in a folder, where another stood before; it is seen that the manifest stays
    what it was.

    Args:
        there: what stood there.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(there)
        told = deepcopy(manifest)
        writer.write(shown, told, path)
        assert told == manifest, "it changes the manifest"
        yield path
