"""Sounds of the shipped families from the command line: written, opened by another program, and
made again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny

soundfile = pytest.importorskip("soundfile")


@pytest.mark.parametrize(
    ("write", "seconds", "about"),
    [
        (tiny.write_stable_audio, 0.16, (128, 800, 2)),
        (tiny.write_stable_audio_3, 0.16, (128, 800, 2)),
        (tiny.write_ace_step, 2.1, (168, 80, 2)),
        (tiny.write_audioldm_2, 0.16, (128, 800, 1)),
    ],
)
def test_a_sound_has_the_asked_for_length_and_is_made_again(
    ldm: Any,
    tmp_path: Path,
    write: Callable[[Path], Path],
    seconds: float,
    about: tuple[int, int, int],
) -> None:
    folder = write(tmp_path / "model")
    code, out, err = ldm(
        "text-to-audio", "a red star", "--model", folder, "--seed", 7, "--steps", 2,
        "--seconds", seconds, "--out", "o",
    )  # fmt: skip
    assert code == 0, err
    path = Path(out.strip())
    assert path.suffix == ".flac"
    file = soundfile.info(path)
    assert (file.frames, file.samplerate, file.channels) == about
    heard, _ = soundfile.read(path, dtype="int32")
    assert heard.std() > 0
    code, out, err = ldm("replay", "--allow-files", path, "--json")
    assert code == 0, err
    record = json.loads(out)
    assert record["verdict"] == "the same sound, sample for sample"
    again, _ = soundfile.read(record["path"], dtype="int32")
    assert np.array_equal(heard, again)
