"""The file formats that pictures are written in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ldm_core.contracts import Shown, Writer
from ldm_core.media.png import read_png
from ldm_core.media.writers import writer_of
from ldm_core.plugins.registry import installed


def test_png_holds_the_picture_and_its_manifest(tmp_path: Path) -> None:
    writer = installed().find("writer", "png").loaded
    assert isinstance(writer, Writer)
    assert (writer.kind, writer.suffix, writer.holds_manifest) == ("image", ".png", True)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    writer(
        Shown(Image.fromarray(pixels)), {"seed": 7, "prompt": "ein Stern – 星"}, tmp_path / "a.png"
    )
    image, manifest = read_png(tmp_path / "a.png")
    assert np.array_equal(np.asarray(image), pixels)
    assert manifest == {"seed": 7, "prompt": "ein Stern – 星"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_pictures_are_png_where_no_format_is_named() -> None:
    writer = writer_of("image", installed())
    assert writer is not None
    assert writer.suffix == ".png"
