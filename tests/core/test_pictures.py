"""Pictures as people have them: what they show is what is read, wherever one is read."""

from __future__ import annotations

import json
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image, PngImagePlugin

from ldm_core import LdmError, Pipeline
from ldm_core.errors import LdmWarning
from ldm_core.media import picture_forms
from ldm_core.media.pictures import as_mask, as_mode
from ldm_core.media.pictures import open_picture as open_upright
from ldm_core.media.pixels import to_pixels
from ldm_core.media.png import read_png, save_png
from ldm_pipelines.parts import open_mask, open_picture
from ldm_pipelines.training.data import FolderSource
from ldm_plugins.conditioning.shared.pictures import read_picture

SIDE = 16
RAMP = np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE)
Read = Callable[[Path], Any]


def of_pipelines(path: Path) -> Any:
    return np.asarray(open_picture(path))


def of_conditionings(path: Path) -> Any:
    return (read_picture("image", path) * 255).round().astype(np.uint8)


def of_encode(path: Path) -> Any:
    pixels = to_pixels(open_upright(path)).permute(0, 2, 3, 1)[0]
    return ((pixels + 1) * 127.5).round().byte().numpy()


def of_training(path: Path) -> Any:
    return FolderSource(path.parent, side=SIDE).pictures[0]


READERS: list[Read] = [of_pipelines, of_conditionings, of_encode, of_training]


def forms() -> dict[str, tuple[Image.Image, str, Any]]:
    """A picture in a form, the suffix of its file, and the (height, width, 3) that it shows."""
    grey = np.repeat(RAMP[..., None], 3, axis=2)
    colours = np.stack([RAMP, RAMP.T, 255 - RAMP], axis=-1)
    palette = Image.fromarray(RAMP % 4).convert("P")
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    table = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]], np.uint8)
    cyan = np.zeros((SIDE, SIDE, 4), np.uint8)
    cyan[..., 0] = RAMP
    return {
        "grey of 8 bits": (Image.fromarray(RAMP), ".png", grey),
        "grey of 16 bits": (Image.fromarray(RAMP.astype(np.uint16) * 257), ".png", grey),
        "grey of 16 bits, TIFF": (Image.fromarray(RAMP.astype(np.uint16) * 257), ".webp", grey),
        "colours": (Image.fromarray(colours), ".png", colours),
        "grey and opaque": (Image.fromarray(RAMP).convert("LA"), ".png", grey),
        "palette": (palette, ".png", table[RAMP % 4]),
        "black or white": (
            Image.fromarray(RAMP > 99),
            ".bmp",
            np.repeat(np.where(RAMP > 99, 255, 0).astype(np.uint8)[..., None], 3, axis=2),
        ),
        "cyan, magenta, yellow, key": (
            Image.fromarray(cyan, "CMYK"),
            ".jpg",
            np.stack([255 - RAMP, *[np.full_like(RAMP, 255)] * 2], axis=-1),
        ),
    }


@pytest.mark.parametrize("form", forms())
@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_every_reader_sees_what_is_drawn(tmp_path: Path, read: Read, form: str) -> None:
    image, suffix, right = forms()[form]
    # a TIFF under another name, as training folders do not list TIFF
    options = {"format": "TIFF"} if "TIFF" in form else {"quality": 100} if suffix == ".jpg" else {}
    image.save(tmp_path / f"a{suffix}", **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        seen = read(tmp_path / f"a{suffix}").astype(int)
    assert np.abs(seen - right).max() <= (8 if suffix == ".jpg" else 0)


TURNED: dict[int, Callable[[npt.NDArray[Any]], npt.NDArray[Any]]] = {
    2: lambda seen: seen[:, ::-1],
    3: lambda seen: seen[::-1, ::-1],
    4: lambda seen: seen[::-1],
    5: lambda seen: seen.swapaxes(0, 1),
    6: lambda seen: seen.swapaxes(0, 1)[:, ::-1],
    7: lambda seen: seen.swapaxes(0, 1)[::-1, ::-1],
    8: lambda seen: seen.swapaxes(0, 1)[::-1],
}
"""EXIF 2.32, table 6: where the first row and the first column of a file belong."""


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_a_picture_stands_as_its_camera_says(tmp_path: Path, read: Read, orientation: int) -> None:
    image = Image.fromarray(np.stack([RAMP, RAMP.T, 255 - RAMP], axis=-1))
    about = image.getexif()
    about[0x0112] = orientation
    image.save(tmp_path / "a.png", exif=about)
    right = TURNED[orientation](np.asarray(image))
    assert not np.array_equal(right, np.asarray(image))
    np.testing.assert_array_equal(read(tmp_path / "a.png"), right)


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".tif"])
def test_a_picture_of_any_format_is_turned_once(
    tmp_path: Path, suffix: str, orientation: int
) -> None:
    image = Image.fromarray(np.stack([RAMP, RAMP.T, RAMP], axis=-1))
    about = image.getexif()
    about[0x0112] = orientation
    options: dict[str, Any] = {".jpg": {"quality": 100, "subsampling": 0}}.get(suffix, {})
    options |= {"lossless": True} if suffix == ".webp" else {}
    image.save(tmp_path / f"a{suffix}", exif=about, **options)
    upright = open_upright(tmp_path / f"a{suffix}")
    right = TURNED[orientation](np.asarray(image)).astype(int)
    assert np.abs(np.asarray(upright) - right).max() <= (8 if suffix == ".jpg" else 0)
    assert dict(upright.getexif()) == {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        as_mode(upright, "RGB")


def test_sixteen_bits_are_rounded_to_eight() -> None:
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    eight = np.asarray(as_mode(Image.fromarray(every), "L"))
    np.testing.assert_array_equal(eight, np.round(every / 65535 * 255))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.fromarray(np.ones((4, 4), np.float32)), "floating-point numbers"),
        (Image.fromarray(np.ones((4, 4), np.int32)), "32-bit whole numbers"),
        (Image.new("La", (4, 4)), "cannot be read as RGB"),
    ],
)
def test_values_that_do_not_say_what_is_white_are_refused(image: Image.Image, message: str) -> None:
    with pytest.raises(LdmError, match=message):
        open_picture(image)
    with pytest.raises(LdmError, match=message):
        read_picture("image", image)


def test_transparency_that_is_left_out_is_said() -> None:
    clear = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    with pytest.warns(LdmWarning, match="the control_image has transparent pixels"):
        seen = read_picture("control_image", clear)
    np.testing.assert_allclose(seen[0, 0] * 255, (10, 20, 30), atol=1e-4)
    palette = Image.new("P", (4, 4))
    palette.info["transparency"] = 0
    with pytest.warns(LdmWarning, match="transparent pixels"):
        open_picture(palette)


def test_a_picture_of_python_that_lies_on_its_side_is_said(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 4))
    about = image.getexif()
    about[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=about)
    with pytest.warns(LdmWarning, match="carries an orientation"):
        open_picture(Image.open(tmp_path / "a.jpg"))


def strokes(colour: tuple[int, int, int], ground: tuple[int, int, int, int]) -> Image.Image:
    """Opaque on the left, half so in the middle, the ground on the right."""
    image = Image.new("RGBA", (9, 3), ground)
    image.paste((*colour, 255), (0, 0, 3, 3))
    image.paste((*colour, 128), (3, 0, 6, 3))
    return image


@pytest.mark.parametrize("mask", [as_mask, open_mask])
def test_white_on_transparency_is_a_mask_as_far_as_it_is_opaque(mask: Any) -> None:
    for ground in ((0, 0, 0, 0), (255, 255, 255, 0), (0, 0, 0, 255)):
        painted = np.asarray(mask(strokes((255, 255, 255), ground)))
        assert painted[0].tolist() == [255] * 3 + [128] * 3 + [0] * 3


@pytest.mark.parametrize(
    "image",
    [
        strokes((0, 0, 0), (0, 0, 0, 0)),
        strokes((0, 0, 0), (255, 255, 255, 0)),
        strokes((200, 30, 30), (0, 0, 0, 0)),
        Image.new("RGBA", (9, 3), (255, 255, 255, 0)),
        Image.new("LA", (9, 3), (0, 128)),
    ],
)
def test_a_mask_whose_colour_says_nothing_is_refused(image: Image.Image, pipe: Pipeline) -> None:
    with pytest.raises(LdmError, match=r"drawn on transparency(?s:.*)paint it white"):
        as_mask(image)
    with pytest.raises(LdmError, match="the mask of a region is drawn on transparency"):
        read_picture("mask of a region", image, "L", mask=True)
    repaint = pipe.replace(conditioning=["text", "mask"])
    with pytest.raises(LdmError, match="drawn on transparency"):
        repaint("a star", image=Image.new("RGB", (16, 16)), mask=image.resize((16, 16)))


def chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def bloated(path: Path, behind: bool = False) -> Path:
    """A picture with more compressed text than Pillow takes, before its pixels or behind them."""
    Image.fromarray(RAMP).save(path)
    data = path.read_bytes()
    text = b"workflow\0\0" + zlib.compress(b"x" * (PngImagePlugin.MAX_TEXT_CHUNK + 1))
    at = len(data) - 12 if behind else 33
    path.write_bytes(data[:at] + chunk(b"zTXt", text) + data[at:])
    with pytest.raises(ValueError, match="Decompressed data too large"):
        Image.open(path).load()
    return path


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_text_in_a_picture_is_no_hindrance(tmp_path: Path, read: Read, behind: bool) -> None:
    seen = read(bloated(tmp_path / "a.png", behind))
    np.testing.assert_array_equal(seen[..., 0], RAMP)


def test_a_manifest_of_any_length_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_MEMORY", 2000)
    path = tmp_path / "a.png"
    manifest = {"prompt": "a red star " * 1000, "file": "caf\udce9.png", "more": "\u2028é猫"}
    save_png(Image.fromarray(RAMP), manifest, path)
    with pytest.raises(ValueError, match="Too much memory"):
        Image.open(path)
    image, again = read_png(path)
    assert (again, image.tobytes()) == (manifest, RAMP.tobytes())


@pytest.mark.parametrize("compressed", [False, True])
def test_a_manifest_is_read_as_other_programs_write_it(tmp_path: Path, compressed: bool) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("ldm", json.dumps({"format": 1, "name": "é"}), lang="en", zip=compressed)
    Image.fromarray(RAMP).save(tmp_path / "a.png", pnginfo=info)
    assert read_png(tmp_path / "a.png")[1] == {"format": 1, "name": "é"}


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_too_many_pixels_are_one_message(
    tmp_path: Path, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    monkeypatch.setattr(picture_forms, "MOST_PIXELS", 100)
    with pytest.raises(LdmError, match=r"a\.png' cannot be read: it has 16x16 pixels, and 100 are"):
        read(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_damaged_picture_is_one_message(tmp_path: Path, suffix: str) -> None:
    """Cut off it is refused; with a wrong byte it is refused, or read as its decoder does."""
    path = tmp_path / f"a{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    for read in (*READERS, read_png):
        with pytest.raises(LdmError, match=rf"a\{suffix}' cannot be read: "):
            read(path)
    refused = 0
    for place in range(0, 120, 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        try:
            open_upright(path)
        except LdmError:
            refused += 1
    assert refused


def test_what_is_no_number_is_refused_or_said(pipe: Pipeline) -> None:
    wrong = torch.full((3, 16, 16), float("nan"))
    with pytest.raises(LdmError, match="the image holds numbers that are not finite"):
        read_picture("image", wrong)
    with pytest.raises(LdmError, match="the image holds numbers that are not finite"):
        pipe.encode(wrong[None])

    def overflows(model: Any, data: Any, *rest: Any) -> Any:
        return torch.full((len(data), 3, 16, 16), torch.inf)

    with pytest.warns(LdmWarning, match="of finite latents the decoder gave images with numbers"):
        out = pipe.replace(decoder=lambda model, x0: overflows(model, x0) * 0)("a", seed=1)
    assert out.images[0].getextrema() == ((0, 0),) * 3
    with pytest.warns(LdmWarning, match="the encoder gave numbers that are not finite"):
        pipe.replace(encoder=lambda model, data, noise: overflows(model, data)).encode(
            torch.zeros(1, 3, 16, 16)
        )
