"""What is read whole is a plain file: pipes, devices and texts without end are refused at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ldm_core import LdmError
from ldm_core.composition.recipe import read_recipe, read_value
from ldm_core.contracts.files import in_full
from ldm_core.media.held import held
from ldm_core.model.reading import read_bytes
from ldm_pipelines.tables import read_table

READERS: dict[str, Callable[[Path], Any]] = {
    "r.toml": read_recipe,
    "t.csv": read_table,
    "t.jsonl": read_table,
}


def lay(path: Path, what: str) -> Path:
    """A name that leads to a pipe, a device, itself or a folder."""
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    else:
        path.symlink_to({"zeros": "/dev/zero", "itself": path.name}[what])
    return path


@pytest.mark.parametrize("what", ["pipe", "zeros", "folder", "itself"])
@pytest.mark.parametrize("name", READERS)
def test_what_is_no_plain_file_is_refused_at_once(name: str, what: str, tmp_path: Path) -> None:
    path = lay(tmp_path / name, what)
    with pytest.raises(LdmError, match=name):
        READERS[name](path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = " + "[" * 50_000, "nested too deeply"),
        ("a." * 30_000 + "a = 1", "nested too deeply"),
        ("width = " + "9" * 50_000, "a number is too long"),
        ("#" * 2**21, "are the most that is read"),
        ("width = 1\rheight = 1", "not valid TOML"),
    ],
)
def test_a_recipe_without_end_is_refused_at_once(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_bytes(text.encode())
    began = time.process_time()
    with pytest.raises(LdmError, match=words):
        read_recipe(path)
    assert time.process_time() - began < 2


@pytest.mark.parametrize("name", ["a\0.toml", "\ud800.toml", "n" * 300])
def test_a_name_that_no_file_has_is_said(name: str) -> None:
    with pytest.raises(LdmError, match="is the name of no file"):
        read_recipe(Path(name))


def test_many_dots_in_a_list_of_numbers_are_no_key(tmp_path: Path) -> None:
    numbers = [0.5] * 5000
    (tmp_path / "r.toml").write_text(f"[spacing]\nname = 'karras'\nx = {numbers}\n")
    assert read_recipe(tmp_path / "r.toml")["spacing"]["x"] == numbers
    assert read_value(str(numbers)) == numbers


def test_a_file_is_read_to_its_end_and_no_further_than_allowed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_bytes(path, 5) == b"12345"
    with pytest.raises(LdmError, match="has 5 bytes; 4 are the most"):
        read_bytes(path, 4)


def test_a_link_to_itself_is_a_name_as_any_other(tmp_path: Path) -> None:
    loop = lay(tmp_path / "loop", "itself")
    assert in_full(loop) == os.path.join(os.path.realpath(tmp_path), "loop")
    with pytest.raises(LdmError, match="loop' cannot be written into"), held(loop):
        pass
    assert os.listdir(tmp_path) == ["loop"]
