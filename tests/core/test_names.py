"""Names of new files: of several writers none loses a file."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ldm_core import LdmError
from ldm_core.media import names, partial
from ldm_core.media.names import check_new, write_new, write_whole
from ldm_core.media.partial import PARTIAL, partial_folder, sweep


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


def word(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text)


def test_eight_processes_write_each_file_once(tmp_path: Path) -> None:
    """Also into a folder in which a ninth sweeps meanwhile."""
    code = (
        "import sys; from pathlib import Path; from ldm_core.media.names import write_new\n"
        "from ldm_core.media.partial import sweep\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "for n in range(25):\n"
        "    if sys.argv[1] == '8':\n"
        "        sweep(folder)\n"
        "        continue\n"
        "    text = f'{sys.argv[1]} {n}'\n"
        "    beside = ('.json', lambda p: p.write_text(text))\n"
        "    write_new(folder, 'star', '.txt', lambda p: p.write_text(text), beside=beside)\n"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code, str(i)]) for i in range(9)]
    assert [run.wait() for run in runs] == [0] * 9
    pictures = sorted(tmp_path.glob("*.txt"))
    assert sorted(p.read_text() for p in pictures) == sorted(
        f"{i} {n}" for i in range(8) for n in range(25)
    )
    for path in pictures:
        assert path.with_name(f"{path.name}.json").read_text() == path.read_text()
    assert len(list(tmp_path.iterdir())) == 400


@pytest.mark.parametrize("error", [errno.EPERM, errno.EOPNOTSUPP])
def test_where_there_are_no_hard_links_nothing_is_lost_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def link(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "link", link)
    seen: list[int] = []

    def write(number: int) -> Path:
        seen.extend(p.stat().st_size for p in tmp_path.glob("star*"))
        return write_new(tmp_path, "star", ".txt", word(str(number)), beside=(".json", word("{}")))

    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(write, range(60)))
    assert [int(path.read_text()) for path in paths] == list(range(60))
    assert len(set(paths)) == 60
    assert 0 not in seen  # never does an empty file stand under a final name
    write_whole(tmp_path / "sheet", word("1"))
    with pytest.raises(LdmError, match="is there already"):
        write_whole(tmp_path / "sheet", word("2"))


def test_a_disk_that_is_full_is_no_missing_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(OSError, match="full"):
        write_new(tmp_path, "star", ".txt", word("1"))
    assert list(tmp_path.iterdir()) == []


def test_a_link_that_lies_under_a_name_is_not_followed(tmp_path: Path) -> None:
    folder, target = tmp_path / "folder", tmp_path / "target"
    folder.mkdir()
    target.write_text("dear")
    for name in ("star.png", "star-2.png", "star-3.png.json"):
        (folder / name).symlink_to(target if "2" not in name else tmp_path / "nothing")
    path = write_new(folder, "star", ".png", word("x"), beside=(".json", word("{}")))
    assert path.name == "star-4.png"
    with pytest.raises(LdmError, match="is there already"):
        write_whole(folder / "star.png", word("x"))
    write_whole(folder / "star.png", word("x"), overwrite=True)
    assert not (folder / "star.png").is_symlink()
    assert (folder / "star.png").read_text() == "x"
    assert target.read_text() == "dear"
    assert not (tmp_path / "nothing").exists()


def test_what_a_kill_left_beside_a_picture_that_never_came_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "star.png.json").write_text("{}")
    assert write_new(tmp_path, "star", ".png", word("x"), beside=(".json", word("{}"))).name == (
        "star.png"
    )
    (tmp_path / "moon.png.json").write_text("{other}")
    assert write_new(tmp_path, "moon", ".png", word("x"), beside=(".json", word("{}"))).name == (
        "moon-2.png"
    )


def test_a_file_of_a_name_is_written_over_only_where_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    write_whole(path, word("1"))
    with pytest.raises(LdmError, match=r"is there already(?s:.*)--overwrite"):
        check_new(path)
    with pytest.raises(LdmError, match="is there already"):
        write_whole(path, word("2"))
    assert path.read_text() == "1"
    write_whole(path, word("3"), overwrite=True)
    assert path.read_text() == "3"

    def fail(fresh: Path) -> None:
        fresh.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, fail, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["sheet.png"]
    assert path.read_text() == "3"

    def rival(fresh: Path) -> None:
        fresh.write_text("mine")
        (tmp_path / "new").write_text("a rival's")

    with pytest.raises(LdmError, match="is there already"):
        write_whole(tmp_path / "new", rival)
    assert (tmp_path / "new").read_text() == "a rival's"


def test_what_is_no_file_is_not_written_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for path, message in {
        tmp_path / "pipe": "a device or a pipe",
        Path("/dev/null"): "a device or a pipe",
        tmp_path / "folder": "should be a file, and is a folder",
        tmp_path / "file" / "a": "Not a directory",
        tmp_path / ("x" * 300): "its name has 300 bytes, and the file system has names of at most",
        tmp_path / ("猫" * 90): "its name has 270 bytes",
        tmp_path / "a\0b": "null",
        tmp_path / "a\ud800b": "cannot be written",
        tmp_path / "/".join(["x" * 200] * 30): "too long",
    }.items():
        with pytest.raises(LdmError, match=message):
            check_new(path, overwrite=True)
        with pytest.raises(LdmError, match=message):
            write_whole(path, word("x"), overwrite=True)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_files_have_the_permissions_of_others(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        (tmp_path / "ordinary").touch()
        (tmp_path / "folder").mkdir()
        new = write_new(tmp_path, "star", ".png", word("x"), beside=(".json", word("{}")))
        write_whole(tmp_path / "sheet", word("x"))
        with partial_folder(tmp_path) as fresh:
            fresh.rename(tmp_path / "model")
    finally:
        os.umask(before)
    ordinary = (tmp_path / "ordinary").stat().st_mode
    for path in (new, new.with_name("star.png.json"), tmp_path / "sheet"):
        assert path.stat().st_mode == ordinary
    assert (tmp_path / "model").stat().st_mode == (tmp_path / "folder").stat().st_mode


@pytest.mark.parametrize("kind", ["partial", "partial_folder"])
def test_what_a_kill_leaves_is_swept_and_what_is_written_is_not(tmp_path: Path, kind: str) -> None:
    code = (
        "import time; from pathlib import Path; from ldm_core.media import partial\n"
        f"with partial.{kind}(Path({str(tmp_path)!r})) as path:\n"
        "    path.is_dir() and (path / 'weights').write_text('half')\n"
        "    print(path.name, flush=True); time.sleep(60)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    name = writer.stdout.readline().strip()
    assert PARTIAL.fullmatch(name)
    (tmp_path / ".ldm-0123456789abcdef.part.txt").touch()  # of no writer of ours
    (tmp_path / ".ldm-0123456789abcdef.part").symlink_to(tmp_path)
    kept = {p.name for p in tmp_path.iterdir()}
    assert sweep(tmp_path) == 0
    assert {p.name for p in tmp_path.iterdir()} == kept
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert sweep(tmp_path) == 1
    assert {p.name for p in tmp_path.iterdir()} == kept - {name}
    assert sweep(tmp_path / "nowhere") == 0


def test_a_lock_of_somebody_else_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partial, "LONGEST_WAIT", 0.05)
    with partial.locked(tmp_path):
        began = time.monotonic()
        write_new(tmp_path, "star", ".png", word("x"), beside=(".json", word("{}")))
        assert time.monotonic() - began < 9


def test_the_longest_names_can_have_their_manifest_beside_them(tmp_path: Path) -> None:
    for _ in range(3):
        path = write_new(
            tmp_path, "x" * 999, ".png", word("x"), ending="-seed7", beside=(".json", word("{}"))
        )
    assert len(path.name) <= names.LONGEST + 6


def test_a_folder_that_takes_no_file_is_named_and_no_fault_of_the_program(tmp_path: Path) -> None:
    """It was removed while what goes into it was made."""

    def write(fresh: Path) -> None:
        fresh.parent.rmdir()
        fresh.write_text("a")

    folder = tmp_path / "tables"
    with pytest.raises(LdmError, match=r"tables/a\.csv' cannot be written: No such file"):
        write_whole(folder / "a.csv", write)
