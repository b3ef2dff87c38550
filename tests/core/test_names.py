"""Names of new files: of several writers none loses a file."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ldm_core.media.names import write_new


def test_a_taken_name_gets_a_number(tmp_path: Path) -> None:
    names = [
        write_new(tmp_path, "A red star!-seed7", ".png", lambda p: p.write_text("x") and None).name
        for _ in range(3)
    ]
    assert names == ["a-red-star-seed7.png", "a-red-star-seed7-2.png", "a-red-star-seed7-3.png"]


@pytest.mark.parametrize(
    ("stem", "ending", "name"),
    [
        ("a red star " * 20, "-seed7", "a-red-star-" * 8 + "a-red-seed7"),
        ("一只", "-seed7", "seed7"),
        ("", "a-star-seed7-2", "a-star-seed7-2"),
        ("!", "", "image"),
        ("x" * 300, "-replay", "x" * 93 + "-replay"),
    ],
)
def test_of_a_long_name_its_end_is_kept(tmp_path: Path, stem: str, ending: str, name: str) -> None:
    path = write_new(tmp_path, stem, ".png", lambda p: p.write_text("x") and None, ending=ending)
    assert path.name == f"{name}.png"
    assert len(path.stem) <= 100


def test_threads_that_choose_one_name_lose_nothing(tmp_path: Path) -> None:
    def write(number: int) -> Path:
        return write_new(tmp_path, "star", ".txt", lambda p: p.write_text(str(number)) and None)

    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(write, range(100)))
    assert len(set(paths)) == 100
    assert sorted(int(path.read_text()) for path in tmp_path.iterdir()) == list(range(100))
    assert [int(path.read_text()) for path in paths] == list(range(100))


def test_processes_that_choose_one_name_lose_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from ldm_core.media.names import write_new\n"
        "for n in range(40):\n"
        "    text = f'{sys.argv[1]} {n}'\n"
        f"    write_new(Path({str(tmp_path)!r}), 'star', '.txt', lambda p: p.write_text(text))\n"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code, str(i)]) for i in range(2)]
    assert [run.wait() for run in runs] == [0, 0]
    texts = {path.read_text() for path in tmp_path.iterdir()}
    assert texts == {f"{i} {n}" for i in range(2) for n in range(40)}


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_new(tmp_path, "star", ".png", fail)
    assert list(tmp_path.iterdir()) == []
