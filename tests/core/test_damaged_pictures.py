"""Damaged and hostile picture files: each is one message or the picture, at once, in little memory.

The faults that mutation found stand by themselves at the end.
"""

from __future__ import annotations

import io
import random
import struct
import time
import tracemalloc
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from ldm_core import LdmError
from ldm_core.errors import LdmWarning
from ldm_core.media.pictures import as_mask, as_mode, open_picture

SIDE = 20
ROWS, COLUMNS = np.mgrid[:SIDE, : SIDE - 3]
COLOURS = np.stack([ROWS * 11, COLUMNS * 13, (ROWS + COLUMNS) * 5], axis=-1).astype(np.uint8)


def forms() -> dict[str, bytes]:
    """The same picture in forms of each format."""
    colours = Image.fromarray(COLOURS)
    grey, palette, clear = colours.convert("L"), colours.quantize(16), colours.convert("RGBA")
    clear.putalpha(grey)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    about = Image.Exif()
    about[0x0112] = 6
    images = {
        "1": colours.convert("1"), "L": grey, "P": palette, "RGB": colours, "RGBA": clear,
        "LA": clear.convert("LA"), "CMYK": colours.convert("CMYK"), "I;16": deep,
    }  # fmt: skip
    two: dict[str, Any] = {"save_all": True, "append_images": [colours.rotate(90)]}
    table: list[tuple[str, str, dict[str, Any]]] = [
        *(("PNG", mode, {"exif": about}) for mode in ("1", "L", "P", "RGB", "RGBA", "LA", "I;16")),
        ("PNG", "RGB", two),
        *(("JPEG", mode, {"exif": about}) for mode in ("L", "RGB", "CMYK")),
        ("JPEG", "RGB", {"progressive": True}),
        ("JPEG", "RGB", {"restart_marker_rows": 1}),
        ("WEBP", "RGB", {"exif": about}),
        ("WEBP", "RGBA", {"lossless": True}),
        ("WEBP", "RGB", two),
        ("GIF", "P", {}),
        ("GIF", "P", {"save_all": True, "append_images": [palette.rotate(90)]}),
        *(("BMP", mode, {}) for mode in ("1", "L", "P", "RGB", "RGBA")),
        *(("TIFF", mode, {"exif": about}) for mode in images),
        *(
            ("TIFF", "RGB", {"compression": name})
            for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
        ),
        ("TIFF", "1", {"compression": "group4"}),
        ("TIFF", "RGB", two),
    ]
    made = {}
    for format, mode, options in table:
        data = io.BytesIO()
        images[mode].save(data, format=format, **options)
        made[f"{format} {mode} {' '.join(options)} {options.get('compression', '')}"] = (
            data.getvalue()
        )
    return made


FORMS = forms()


def read(data: bytes, path: Path) -> Image.Image:
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", LdmWarning)
        return open_picture(path)


@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_is_cut_off_is_refused(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a program has Pillow tolerate it; but for the end mark and what pads the last row,
    without which the picture is whole."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = FORMS[form]
    whole = read(data, tmp_path / "a")
    first = len(data) if "save_all" not in form else len(data) // 3
    for length in {*range(0, first, 17), *range(max(0, first - 40), first)}:
        try:
            image = read(data[:length], tmp_path / "a")
        except LdmError as error:
            assert "cannot be read: " in error.message  # noqa: PT017
        else:
            assert image.tobytes() == whole.tobytes()
            assert form.startswith(("GIF", "BMP", "TIFF 1"))
            assert length > len(data) - 8 or "save_all" in form
    assert ImageFile.LOAD_TRUNCATED_IMAGES


def with_checksums(data: bytes) -> bytes:
    """A PNG whose chunks have the checksums of what is in them."""
    parts, at = [data[:8]], 8
    while data.startswith(b"\x89PNG") and at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            break
        parts.append(data[at : end - 4] + zlib.crc32(data[at + 4 : end - 4]).to_bytes(4, "big"))
        at = end
    return b"".join(parts) + data[at:] if len(parts) > 1 else data


NUMBERS = [0, 1, 2, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF]


def mutated(data: bytes, by: random.Random) -> bytes:
    """A file with bytes changed, lost, doubled, exchanged or of others, and numbers that lie."""
    out = bytearray(data)
    for _ in range(by.choice([1, 1, 2, 4])):
        reach = len(out) if by.random() < 0.4 else min(len(out), by.choice([32, 64, 200]))
        at = by.randrange(max(1, reach))
        length = by.randrange(1, 60)
        kind = by.randrange(7)
        if kind == 0:
            out[at : at + 1] = bytes([by.randrange(256)])
        elif kind == 1:
            del out[by.randrange(len(out) + 1) :]
        elif kind == 2:
            size = by.choice([1, 2, 4])
            number = by.choice(NUMBERS) % 256**size
            out[at : at + size] = number.to_bytes(size, by.choice(["big", "little"]))  # type: ignore[arg-type]
        elif kind == 3:
            del out[at : at + length]
        elif kind == 4:
            out[at:at] = out[at : at + length]
        elif kind == 5:
            there = by.randrange(max(1, len(out)))
            here, other = out[at : at + length], out[there : there + length]
            out[at : at + length], out[there : there + length] = other, here
        else:
            other_file = FORMS[by.choice(sorted(FORMS))]
            head, tail = (out, other_file) if by.random() < 0.5 else (other_file, out)
            out = bytearray(head[:at] + tail[at:])
    return with_checksums(bytes(out)) if by.random() < 0.6 else bytes(out)


def check(data: bytes, path: Path) -> bool:
    """Whether a file is read; else it is refused, and nothing else comes of it."""
    began = time.perf_counter()
    try:
        image = read(data, path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LdmWarning)
            assert as_mode(image, "RGB").size == image.size
            as_mask(image)
        return True
    except LdmError:
        return False
    finally:
        assert time.perf_counter() - began < 5  # of a busy machine; it takes milliseconds


def test_mutated_files_are_read_or_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    by = random.Random(20)
    outcomes = [
        check(mutated(FORMS[by.choice(sorted(FORMS))], by), tmp_path / "a") for _ in range(1000)
    ]
    assert 50 < sum(outcomes) < 950
    assert capfd.readouterr() == ("", "")


def chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def png_head(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    )


END = chunk(b"IEND", b"")


def rewritten(form: str, at: int, body: bytes) -> bytes:
    data = FORMS[next(name for name in FORMS if name.startswith(form))]
    return data[:at] + body + data[at + len(body) :]


def tiff_entry(tag: int, count: int | None = None, value: int | None = None) -> bytes:
    """An uncompressed TIFF of which an entry lies."""
    data = bytearray(FORMS[next(name for name in FORMS if name.startswith("TIFF RGB"))])
    place = int.from_bytes(data[4:8], "little")
    for at in range(
        place + 2, place + 2 + 12 * int.from_bytes(data[place : place + 2], "little"), 12
    ):
        if int.from_bytes(data[at : at + 2], "little") == tag:
            if count is not None:
                data[at + 4 : at + 8] = count.to_bytes(4, "little")
            if value is not None:
                data[at + 8 : at + 12] = value.to_bytes(4, "little")
            return bytes(data)
    raise AssertionError(tag)


HUGE = (65_500).to_bytes(2, "little") * 2
LIES = {
    "PNG of 2^31 pixels a side": (png_head(2**31 - 1, 2**31 - 1) + END, "the most that are read"),
    "PNG of 60,000 a side": (
        png_head(60000, 60000) + chunk(b"IDAT", zlib.compress(bytes(1 << 16))) + END,
        "it has 60000x60000 pixels, and 67,108,864",
    ),
    "PNG without pixels": (png_head(0, 9) + END, "it has 0x9 pixels"),
    "PNG with two headers": (
        png_head(9, 9) + png_head(9000, 9000)[8:] + END,
        "a PNG begins with one header",
    ),
    "PNG of a checksum that is wrong": (rewritten("PNG RGB", 30, b"\0\0"), "a checksum is wrong"),
    "PNG whose chunk is longer than the file": (
        png_head(9, 9) + b"\x7f\xff\xff\xffIDAT" + END,
        "the file is cut off",
    ),
    "GIF of 65,500 a side": (rewritten("GIF", 6, HUGE), "it has 65500x65500 pixels"),
    "GIF whose frame is larger than it": (
        b"GIF89a\4\0\4\0\0\0\0," + bytes(4) + HUGE + b"\0\2\1\0\0;",
        "it has 65500x65500 pixels",
    ),
    "WebP of 16,384 a side": (
        b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + b"\xff\x3f\0" * 2 + bytes(8),
        "it has 16384x16384 pixels",
    ),
    "BMP of 2^31 a side": (rewritten("BMP RGB", 18, b"\xff\xff\xff\x7f" * 2), "the most that are"),
    "BMP of run lengths": (
        rewritten("BMP P", 18, struct.pack("<iiHHI", 8000, 8000, 1, 8, 1)),
        "it is run-length encoded, which is read up to",
    ),
    "TIFF of 2^30 a side": (tiff_entry(256, value=2**30), "the most that are read"),
    "TIFF of 2^30 strips": (tiff_entry(273, count=2**30), "more than 262,144 parts"),
    "TIFF that is higher than its strips": (tiff_entry(257, value=500), "the file is cut off"),
    "TIFF whose strips have no rows": (tiff_entry(278, value=0), "its strips have no size"),
    "TIFF whose strip is not there": (tiff_entry(273, value=2**31), "damaged"),
    "TIFF whose directory is in itself": (b"II*\0\4\0\0\0" + bytes(60), "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_is_one_message(tmp_path: Path, lie: str) -> None:
    data, message = LIES[lie]
    tracemalloc.start()
    try:
        with pytest.raises(LdmError, match=message):
            read(data, tmp_path / "a")
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


def test_scans_without_end_are_refused(tmp_path: Path) -> None:
    """Each costs as much as the whole picture, and takes ten bytes."""
    data = FORMS[next(name for name in FORMS if "progressive" in name)]
    scan = data.rindex(b"\xff\xda")
    assert check(data, tmp_path / "a")
    with pytest.raises(LdmError, match="more than 64 scans"):
        read(data[:scan] + data[scan:-2] * 100 + data[-2:], tmp_path / "a")


def test_chunks_without_end_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LdmError, match="more than 262,144 chunks"):
        read(png_head(9, 9) + chunk(b"tIME", b"") * 300_000 + END, tmp_path / "a")


def test_a_file_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.write(png_head(9, 9))
        file.truncate(1 << 40)  # sparse
    with pytest.raises(LdmError, match="the file has more than 512 MiB"):
        open_picture(tmp_path / "a")


def test_what_libraries_print_by_themselves_is_kept_away(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """libtiff writes to the standard error stream, past Python."""
    data = bytearray(FORMS[next(name for name in FORMS if "tiff_lzw" in name)])
    data[8:60] = bytes(52)
    with pytest.raises(LdmError, match="cannot be read"):
        read(bytes(data), tmp_path / "a")
    assert capfd.readouterr() == ("", "")
