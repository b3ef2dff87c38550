"""Pipelines and outputs as a notebook shows them, and outputs as files."""

from __future__ import annotations

import base64
import io
import re
import wave
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from ldm_core import LdmError, Output, Pipeline, chain

PROMPTS = ["a red star", "<script>"]


@pytest.fixture(scope="module")
def output(pipe: Pipeline) -> Output:
    return pipe(PROMPTS, seed=7)


class Cells(HTMLParser):
    """The texts of a table's cells, and the tags that there are."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_pipeline_is_a_line_of_text_and_a_table_in_a_notebook(pipe: Pipeline) -> None:
    other = pipe.replace(scheduler="dpmpp_2m", guidance={"name": "classifier_free", "scale": 3.5})
    text = repr(other)
    assert "\n" not in text
    assert len(text) < 300
    for word in ("dpmpp_2m", "classifier_free (scale = 3.5)", "4 steps", "16x16"):
        assert word in text
    table = Cells(other._repr_html_())
    assert table.tags == {"p", "table", "tr", "th", "td"}
    place = table.texts.index("scheduler")
    assert table.texts[place + 1] == "dpmpp_2m"
    assert "you" in table.texts[place : place + 5]
    assert "0.25" in repr(chain(pipe, other, at=0.25))


def test_what_is_typed_is_no_html(pipe: Pipeline) -> None:
    composition = pipe.composition
    info = replace(composition.info, source="<img src=x onerror=alert(1)>")
    hostile = replace(pipe, composition=replace(composition, info=info))
    table = Cells(hostile._repr_html_())
    assert "img" not in table.tags
    assert any("<img src=x" in text for text in table.texts)


def test_pictures_are_one_png(output: Output) -> None:
    assert output._repr_html_() is None
    one = Image.open(io.BytesIO(output.only(0)._repr_png_() or b""))
    assert one.tobytes() == output.images[0].tobytes()
    several = Image.open(io.BytesIO(output._repr_png_() or b""))
    assert several.width > 2 * one.width
    assert "2 pictures of 16x16, seeds 7, 8" in repr(output)
    arrays = replace(output, images=np.zeros((2, 16, 16, 3), np.float32))
    assert (arrays._repr_png_(), arrays._repr_html_()) == (None, None)
    assert "(2, 16, 16, 3)" in repr(arrays)


def embedded(html: str) -> bytes:
    (data,) = re.findall(r"base64,([^\"]*)\"", html)
    return base64.b64decode(data)


def test_videos_and_sounds_are_played(output: Output) -> None:
    one = output.only(1)
    frames = [Image.new("RGB", (8, 6), color) for color in ("red", "blue", "lime")]
    video = replace(one, images=[frames], kind="video", rate=4.0)
    html = video._repr_html_() or ""
    assert (video._repr_png_(), "<script>" in html) == (None, False)
    moving = Image.open(io.BytesIO(embedded(html)))
    seen = [frame.convert("RGB").tobytes() for frame in ImageSequence.Iterator(moving)]
    assert seen == [frame.tobytes() for frame in frames]
    samples = np.sin(np.arange(1600, dtype=np.float32).reshape(1, 2, 800))
    sound = replace(one, images=samples, kind="audio", rate=8000.0)
    with wave.open(io.BytesIO(embedded(sound._repr_html_() or ""))) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (2, 8000, 800)
        read = np.frombuffer(file.readframes(800), "<i2").reshape(800, 2).T / 32767
    assert np.abs(read - samples[0]).max() < 1e-4
    long = replace(sound, images=np.zeros((1, 2, 4_000_000), np.float32))
    assert "too large to be shown here: 15 MiB" in (long._repr_html_() or "")


def test_files_are_those_of_the_command_line_and_never_written_over(
    ldm: Any, folder: Path, pipe: Pipeline, output: Output
) -> None:
    code, out, _ = ldm(
        "generate", *PROMPTS, "--model", folder, "--seed", 7, "--steps", 4, "-o", "theirs"
    )
    assert code == 0
    paths = output.save("mine")
    assert [path.name for path in paths] == [Path(line).name for line in out.splitlines()]
    for path in paths:
        assert path.read_bytes() == Path("theirs", path.name).read_bytes()
    again = output.save("mine")
    assert not {*again} & {*paths}
    assert [path.suffix for path in output.save("mine", format="webp")] == [".webp", ".webp"]
    with pytest.raises(LdmError, match="no writer"):
        output.save("mine", format="nothing")
    with pytest.raises(LdmError, match="output_type"):
        replace(output, images=torch.zeros(2, 3, 16, 16)).save("mine")
    assert len(list(Path("mine").iterdir())) == 6
