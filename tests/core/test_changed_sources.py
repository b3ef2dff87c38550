"""Files that a picture was made from, and that are others now under the same name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ldm_core.media.png import read_png


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Beside the pictures, so that nothing has to be allowed but the model."""
    (tmp_path / "made").mkdir()
    file = tmp_path / "made" / "source.png"
    Image.new("RGB", (16, 16), "red").save(file)
    return file


def noted(ldm: Any, picture: Path) -> list[str]:
    code, out, err = ldm("replay", picture, "--json", "--allow-files", "--out", "again")
    assert code == 0, err
    return list(json.loads(out)["differs"])


@pytest.mark.parametrize("command", [["image-to-image"], ["invert", "--iterations", "1"]])
def test_a_source_that_changed_is_said_and_drawn_anew(
    ldm: Any, folder: Path, source: Path, command: list[str]
) -> None:
    """One stands among the inputs, the other among the arguments of a command."""
    run = [*command, source, "a star", "--model", folder, "--steps", "2"]
    run += ["--seed", "3", "--out", "made"]
    code, out, err = ldm(*run)
    assert code == 0, err
    (picture,) = map(Path, out.split())
    manifest = read_png(picture)[1]
    files = manifest.get("input_files") or manifest["command"]["files"]
    assert files == {str(source): hashlib.sha256(source.read_bytes()).hexdigest()}
    assert noted(ldm, picture) == []
    Image.new("RGB", (16, 16), "blue").save(source)
    assert noted(ldm, picture) == [
        f"{source}, from which the picture was made, is not that of then"
    ]
    code, out, err = ldm(*run)
    assert (code, out.split() == [str(picture)]) == (0, False), err
