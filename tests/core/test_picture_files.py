"""Picture files: the formats that are read, and every bit of them, by encoders written here."""

from __future__ import annotations

import ast
import io
import os
import struct
import subprocess
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from ldm_core import LdmError
from ldm_core.errors import LdmWarning
from ldm_core.media.pictures import as_mode, open_picture

ROOT = Path(__file__).parents[2]
Array = npt.NDArray[Any]
RNG = np.random.default_rng(0)


def chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def png(values: Array, bits: int, colour: int, *more: bytes) -> bytes:
    """A PNG of values (height, width, channels); each row is stored as differences to the left."""
    height, width, channels = values.shape
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    if bits < 8:
        digits = (values[..., None] >> np.arange(bits)[::-1]) & 1
        rows = np.packbits(digits.reshape(height, -1).astype(np.uint8), axis=1)
    else:
        rows = values.astype(f">u{bits // 8}").reshape(height, -1).view(np.uint8)
    step = max(1, bits * channels // 8)
    left = np.concatenate([np.zeros((height, step), np.uint8), rows[:, :-step]], axis=1)
    stored = np.concatenate([np.ones((height, 1), np.uint8), rows - left], axis=1)
    parts = [chunk(b"IHDR", head), *more, chunk(b"IDAT", zlib.compress(stored.tobytes()))]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*parts, chunk(b"IEND", b"")])


def tiff(
    values: Array, order: str, *, photometric: int, compression: int = 1, **entries: Any
) -> bytes:
    """A TIFF of values (height, width, channels), in one strip or one for each plane.

    Args:
        order: ``<`` or ``>``.
        compression: 1 for none, 8 for deflate.
        entries: extra, planar, sample_format, bits, strip.
    """
    height, width, channels = values.shape
    bits = values.dtype.itemsize * 8
    plain = values.astype(values.dtype.newbyteorder(order))
    if entries.get("planar") == 2:
        plain = plain.transpose(2, 0, 1)
    planes = [*plain] if entries.get("planar") == 2 else [plain]
    strips = [entries["strip"]] if "strip" in entries else [plane.tobytes() for plane in planes]
    strips = [zlib.compress(strip) if compression == 8 else strip for strip in strips]
    strip, lengths = b"".join(strips), [len(strip) for strip in strips]
    table: dict[int, list[int]] = {
        256: [width], 257: [height], 258: [entries.get("bits", bits)] * channels,
        259: [compression], 262: [photometric],
        273: [8 + sum(lengths[:i]) for i in range(len(lengths))], 277: [channels], 278: [height],
        279: lengths, 284: [entries.get("planar", 1)],
    }  # fmt: skip
    if "extra" in entries:
        table[338] = [entries["extra"]]
    if "sample_format" in entries:
        table[339] = [entries["sample_format"]] * channels
    at = 8 + len(strip) + len(strip) % 2
    rows, behind = b"", b""
    end = at + 2 + 12 * len(table) + 4
    for tag, numbers in sorted(table.items()):
        kind, letter = (4, "I") if tag in (273, 279) else (3, "H")
        packed = struct.pack(f"{order}{len(numbers)}{letter}", *numbers)
        if len(packed) > 4:
            rows += struct.pack(f"{order}HHII", tag, kind, len(numbers), end + len(behind))
            behind += packed + b"\0" * (len(packed) % 2)
        else:
            rows += struct.pack(f"{order}HHI", tag, kind, len(numbers)) + packed.ljust(4, b"\0")
    magic = b"II*\0" if order == "<" else b"MM\0*"
    body = strip + b"\0" * (len(strip) % 2)
    head = magic + struct.pack(f"{order}I", at) + body + struct.pack(f"{order}H", len(table))
    return head + rows + b"\0\0\0\0" + behind


def words(channels: int) -> Array:
    """Values of 16 bits, the ends among them."""
    values = RNG.integers(0, 65536, (7, 5, channels), dtype=np.uint16)
    values[0, 0], values[0, 1], values[0, 2] = 65535, 0, 127 * 257 + 128
    return values


def nearest(values: Array, white: float = 65535) -> Array:
    return np.floor(values.astype(np.float64) / white * 255 + 0.5).astype(np.uint8)


def seen(data: bytes, path: Path) -> Image.Image:
    path.write_bytes(data)
    return open_picture(path)


@pytest.mark.parametrize(("colour", "mode"), [(0, "L"), (2, "RGB"), (4, "LA"), (6, "RGBA")])
def test_png_of_16_bits(tmp_path: Path, colour: int, mode: str) -> None:
    values = words(len(mode))
    image = seen(png(values, 16, colour), tmp_path / "a.png")
    assert image.mode == mode
    np.testing.assert_array_equal(np.asarray(image).reshape(values.shape), nearest(values))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize(("mode", "photometric"), [("L", 1), ("RGB", 2), ("RGBA", 2), ("CMYK", 5)])
def test_tiff_of_16_bits(
    tmp_path: Path, order: str, compression: int, mode: str, photometric: int
) -> None:
    values = words(len(mode))
    extra = {"extra": 2} if mode == "RGBA" else {}
    data = tiff(values, order, photometric=photometric, compression=compression, **extra)
    image = seen(data, tmp_path / "a.png")
    assert image.mode == mode
    np.testing.assert_array_equal(np.asarray(image).reshape(values.shape), nearest(values))


@pytest.mark.parametrize("compression", [1, 8])
def test_colours_multiplied_by_alpha_are_divided_by_it(tmp_path: Path, compression: int) -> None:
    colours, alpha = words(3).astype(np.int64), words(1).astype(np.int64)
    alpha[1, 1] = 0
    stored = (colours * alpha + 32767) // 65535
    values = np.concatenate([stored, alpha], axis=-1).astype(np.uint16)
    data = tiff(values, "<", photometric=2, compression=compression, extra=1)
    image = np.asarray(seen(data, tmp_path / "a.tif")).astype(int)
    np.testing.assert_array_equal(image[..., 3:], nearest(alpha))
    opaque = alpha[..., 0] > 4096
    assert np.abs(image[..., :3] - nearest(colours))[opaque].max() <= 1


def test_grey_whose_zero_is_white(tmp_path: Path) -> None:
    for values, white in ((words(1), 65535), (words(1).astype(np.uint8), 255)):
        for compression in (1, 8):
            data = tiff(values, "<", photometric=0, compression=compression)
            image = np.asarray(seen(data, tmp_path / "a.tif"))[..., None]
            np.testing.assert_array_equal(image, nearest(white - values, white))


def test_grey_of_12_bits(tmp_path: Path) -> None:
    values = np.array([[[0], [4095], [2048], [15]]], np.uint16)
    digits = (values[..., None] >> np.arange(12)[::-1]) & 1
    strip = np.packbits(digits.reshape(1, -1).astype(np.uint8), axis=1).tobytes()
    data = tiff(values, "<", photometric=1, bits=12, strip=strip)
    image = np.asarray(seen(data, tmp_path / "a.tif"))[..., None]
    np.testing.assert_array_equal(image, nearest(values, 4095))


@pytest.mark.parametrize("compression", [1, 8])
def test_planes_of_8_bits_are_read_and_of_16_refused(tmp_path: Path, compression: int) -> None:
    for kind, bits in ((np.uint8, 8), (np.uint16, 16)):
        values = words(3).astype(kind)
        data = tiff(values, "<", photometric=2, compression=compression, planar=2)
        if bits == 16:  # Pillow takes halves of one plane for planes, or drops the lower bytes
            with pytest.raises(LdmError, match="16 bits are stored in planes"):
                seen(data, tmp_path / "a.tif")
        else:
            image = np.asarray(seen(data, tmp_path / "a.tif"))
            np.testing.assert_array_equal(image, nearest(values, 2**bits - 1))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_grey_that_is_clear(tmp_path: Path, bits: int) -> None:
    top = 2**bits - 1
    values = RNG.integers(0, top + 1, (6, 8, 1))
    values[0, :2, 0] = 0, top
    for clear in (0, top):
        data = png(values, bits, 0, chunk(b"tRNS", clear.to_bytes(2, "big")))
        image = seen(data, tmp_path / "a.png")
        with pytest.warns(LdmWarning, match="transparent pixels"):
            np.testing.assert_array_equal(as_mode(image, "L"), nearest(values, top)[..., 0])
        alpha = np.asarray(image.convert("RGBA"))[..., 3:]
        np.testing.assert_array_equal(alpha == 0, values == clear)


def test_a_colour_of_16_bits_that_is_clear(tmp_path: Path) -> None:
    values = words(3)
    values[3, 3] = values[2, 2] + [0, 0, 1]
    clear = values[2, 2].astype(">u2").tobytes()
    image = np.asarray(seen(png(values, 16, 2, chunk(b"tRNS", clear)), tmp_path / "a.png"))
    np.testing.assert_array_equal(image[..., :3], nearest(values))
    assert np.argwhere(image[..., 3] == 0).tolist() == [[2, 2]]


@pytest.mark.parametrize("compression", [1, 8])
def test_floating_point_says_no_white(tmp_path: Path, compression: int) -> None:
    values = RNG.random((4, 4, 1), dtype=np.float32)
    data = tiff(values, "<", photometric=1, compression=compression, sample_format=3)
    image = seen(data, tmp_path / "a.tif")
    with pytest.raises(LdmError, match=r"floating-point numbers(?s:.*)save it in 8 or 16 bits"):
        as_mode(image, "RGB")


def test_only_the_formats_that_are_named_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Pillow can write in any other is refused, and starts nothing."""

    def start(*_: Any, **__: Any) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(os, "system", start)
    Image.init()
    read, refused, path = set(), set(), tmp_path / "a.png"
    for name in sorted(Image.SAVE):
        for image in (Image.new("RGB", (32, 32), "red"), Image.new("1", (32, 32))):
            data = io.BytesIO()
            try:
                image.save(data, format=name)
            except Exception:  # not of this mode, or written by another program
                continue
            path.write_bytes(data.getvalue())
            try:
                open_picture(path)
                read.add(name)
            except LdmError as error:
                refused.add((name, "which are the formats that are read" in error.message))
    assert read - {"MPO"} == {"PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"}
    assert refused >= {(name, True) for name in ("EPS", "PDF", "PPM", "ICO", "TGA", "PCX")}
    assert {by_format for _, by_format in refused} == {True}
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    others = [b"\xd7\xcd\xc6\x9a" + b"\0" * 60, eps, b"\xc5\xd0\xd3\xc6" + b"\0" * 60, b"%PDF-1.4"]
    for data in others:
        path.write_bytes(data)
        with pytest.raises(LdmError, match="which are the formats that are read"):
            open_picture(path)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "empty.png").touch()
    for name, message in {
        "pipe.png": "a device or a pipe",
        "folder.png": "it is a folder",
        "empty.png": "the file is empty",
        "/dev/zero": "a device or a pipe",
        "none.png": "No such file",
        "a\0.png": "null byte",
        "x" * 300: "too long",
    }.items():
        with pytest.raises(LdmError, match=rf"cannot be read: .*{message}"):
            open_picture(tmp_path / name)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_of_several_frames_the_first_is_taken_and_that_is_said(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("L", (8, 8), value).convert("RGB") for value in (200, 50)]
    path = tmp_path / f"a.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.warns(LdmWarning, match="has several frames or pages, and the first"):
        image = open_picture(path)
    assert abs(image.convert("L").getpixel((4, 4)) - 200) <= 2
    frames[0].save(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_picture(path)


def test_a_photograph_with_another_inside_is_one(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 8), "red")
    image.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[image])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_picture(tmp_path / "a.jpg").size == (8, 8)


def test_notes_that_are_damaged_are_said(tmp_path: Path) -> None:
    image = Image.fromarray(words(3).astype(np.uint8))
    image.save(tmp_path / "a.png", exif=b"Exif\0\0no notes at all")
    with pytest.warns(LdmWarning, match=r"notes \(EXIF\) in the image are damaged"):
        again = open_picture(tmp_path / "a.png")
    assert again.tobytes() == image.tobytes()


def test_a_profile_or_text_of_any_size_is_no_hindrance(tmp_path: Path) -> None:
    values = words(3).astype(np.uint8)
    swollen = zlib.compress(bytes(1 << 27), 9)
    more = [chunk(b"iCCP", b"icc\0\0" + swollen), chunk(b"zTXt", b"text\0\0" + swollen)]
    image = seen(png(values, 8, 2, *more), tmp_path / "a.png")
    assert image.tobytes() == values.tobytes()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for suffix in ("jpg", "webp", "tif"):
        long = profile + bytes(1 << 21)
        Image.fromarray(values).save(tmp_path / f"a.{suffix}", icc_profile=long)
        assert open_picture(tmp_path / f"a.{suffix}").info == {}


def test_warnings_are_as_before_when_threads_open_pictures(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        for image in pool.map(open_picture, [tmp_path / "a.png"] * 200):
            assert image.size == (8, 8)
    assert list(warnings.filters) == before


def test_a_picture_of_python_that_cannot_be_decoded_is_one_message(tmp_path: Path) -> None:
    Image.fromarray(words(3).astype(np.uint8)).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[:-30])
    lazy = Image.open(tmp_path / "a.png")
    with pytest.raises(LdmError, match="the control_image cannot be read: image file is truncated"):
        as_mode(lazy, "RGB", "control_image")


def test_pictures_are_opened_in_one_place() -> None:
    """`Image.open` stands in one file, with the formats by name."""
    places = []
    for room in ("ldm_core", "plugins", "pipelines"):
        for path in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and node.module == "PIL.Image":
                    assert "open" not in {name.name for name in node.names}, path
                if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Image.open"):
                    places.append(str(path.relative_to(ROOT)))
                    assert [word.arg for word in node.keywords] == ["formats"]
    assert {*places} == {"ldm_core/media/pictures.py"}
