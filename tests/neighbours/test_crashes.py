"""Packages whose code ends the process beneath Python, and what is left where one was killed."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import packages
from forked import Server, output_of
from ldm_core.errors import LdmWarning
from ldm_core.plugins import died
from ldm_core.plugins.died import Watch, end_of
from neighbours.wrong_modules import HEAD, install

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="copies of processes are Linux's")
FINE = f"""{HEAD}
@hookimpl
def ldm_schedulers(register):
    register("still_there", "wrong_fine:walk")
def walk(x, grid, denoise, noise):
    "Walk nowhere."
    return x
"""
ABORT = f"{FINE}\nimport os\nos.abort()  # of which Python hears nothing\n"
WAIT = f"""{FINE}
import time, pathlib
if not pathlib.Path("go").exists():
    pathlib.Path("waits").touch()
    time.sleep(600)
"""
LIST = ["plugins", "list", "--kind", "scheduler"]


class Home:
    """Runs of ldm with a cache of their own, beside the packages of a folder."""

    def __init__(self, server: Server, place: Path) -> None:
        self.server, self.site, self.cache = server, place / "site", place / "cache"
        self.folder = place / "run"
        self.folder.mkdir()

    def start(self, words: list[str]) -> int:
        variables = {"XDG_CACHE_HOME": str(self.cache)}
        return self.server.start(words, self.folder, environment=variables, path=[self.site])

    def end(self, pid: int) -> tuple[int, str, str]:
        return (self.server.wait(pid), *output_of(self.folder, pid))

    def run(self, words: list[str]) -> tuple[int, str, str]:
        return self.end(self.start(words))

    def left(self) -> list[str]:
        """What files say of processes that run, or ran when they died."""
        folder = self.cache / "ldm" / "running"
        files = [file for file in folder.iterdir() if file.name != "known"]
        return [file.read_text().partition("\n")[0] for file in files]

    def start_waiting(self) -> int:
        """Start a list that waits in the import of the package, until there is a file ``go``."""
        for name in ("go", "waits"):
            (self.folder / name).unlink(missing_ok=True)
        pid = self.start(LIST)
        while not (self.folder / "waits").exists():
            time.sleep(0.005)
        (self.folder / "go").touch()
        return pid


@pytest.fixture
def home(server: Server, tmp_path: Path) -> Home:
    return Home(server, tmp_path)


def test_a_package_that_ends_the_process_ends_nothing_but_its_own_use(
    home: Home, folder: Path
) -> None:
    install(home.site, "fine", FINE)
    install(home.site, "abort", f"{HEAD}import os\nos.abort()\n")
    install(home.site, "segv", f"{HEAD}import ctypes\nctypes.string_at(0)\n")
    install(home.site, "kill", f"{HEAD}import os\nos.kill(os.getpid(), 9)\n")
    install(home.site, "gone", f"{HEAD}import os\nos._exit(0)\n")
    hook = "@hookimpl\ndef ldm_families(register):\n    register('fam', 'wrong_target:Family')\n"
    modules = {"wrong_family.py": HEAD + hook, "wrong_target.py": "import os\nos.abort()\n"}
    entry = {"ldm": {"x": "wrong_family"}}
    packages.install(home.site, "ldm-family", modules=modules, entry_points=entry)
    code, out, err = home.run(LIST)
    assert code == 0, err
    assert "still_there" in out
    for name, how in {
        "abort": "was ended by SIGABRT",
        "segv": "was ended by SIGSEGV",
        "kill": "was ended by SIGKILL",
        "gone": "ended by itself, with exit code 0",
    }.items():
        package = f"plugin 'x' of the package ldm-{name} 1.0"
        assert f"not loaded: {package}: a process that imported it {how}\n" in err
    words = ["generate", "star", "--steps", "1", "--model", str(folder), "--out", "pictures"]
    code, out, err = home.run(words)
    assert code == 0, err
    assert out.strip().endswith(".png")
    nobody = home.folder / "nobody"
    nobody.mkdir()
    (nobody / "model_index.json").write_text('{"_class_name": "Nobody"}')
    code, _, err = home.run(["generate", "star", "--model", "nobody"])
    assert code == 2
    family = "the family 'fam' of the package ldm-family 1.0"
    assert f"could not be asked: {family}: a process that asked it was ended by SIGABRT" in err
    assert home.left() == []


def test_one_that_was_right_before_ends_one_process_at_most_and_is_used_again_when_mended(
    home: Home,
) -> None:
    install(home.site, "fine", FINE)
    assert "still_there" in home.run(LIST)[1]
    install(home.site, "fine", ABORT)
    code, out, err = home.run(LIST)
    assert (code, out) == (-signal.SIGABRT, "")
    assert home.left() == ["the import of ldm-fine:x"]
    code, out, err = home.run(LIST)
    assert code == 0
    assert "still_there" not in out
    assert "of the package ldm-fine 1.0: a process that imported it was ended by SIGABRT" in err
    install(home.site, "fine", FINE)
    code, out, err = home.run(LIST)
    assert (code, err) == (0, "")
    assert "still_there" in out
    assert home.left() == []


def test_one_that_spares_the_copy_ends_two_processes_at_most(home: Home) -> None:
    spares = "import os\nif os.readlink('/proc/self/fd/1') != '/dev/null':\n    os.abort()\n"
    install(home.site, "fine", FINE + spares)
    assert [home.run(LIST)[0] for _ in range(2)] == [-signal.SIGABRT] * 2
    for _ in range(2):
        code, out, err = home.run(LIST)
        assert code == 0
        assert "still_there" not in out
        assert "the package ldm-fine 1.0: a process that imported it ended before it" in err
        assert "was done, twice, though a copy of it came through" in err
    (home.site / "wrong_fine.py").write_text(FINE)
    left = home.cache / "ldm" / "running"
    for file in [file for file in left.iterdir() if file.name != "known"]:
        file.unlink()
    assert "still_there" in home.run(LIST)[1]


def test_no_copy_is_made_beside_threads_that_python_does_not_see(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    pytest.importorskip("torch")
    tasks = tmp_path / "tasks"
    for name in "123":
        (tasks / name).mkdir(parents=True)
    monkeypatch.setattr(died, "TASKS", str(tasks))
    monkeypatch.setattr(died, "ALONE", 2)
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    monkeypatch.setattr(died, "end_of", lambda do: "was ended")
    with Watch() as watch:
        assert watch.over("it", print, "1") is None
        (tasks / "3").rmdir()
        assert watch.over("it", print, "1") == "was ended"
        monkeypatch.setattr(died, "end_of", lambda do: f"{died.HUNG} 60 s")
        with pytest.warns(LdmWarning, match="did not end within 60 s; it is done here"):
            assert watch.over("it", print, "1") is None


def test_a_person_who_ends_an_import_condemns_nothing(home: Home) -> None:
    install(home.site, "fine", WAIT)
    first = home.start_waiting()  # in a copy, as it is seen for the first time
    os.kill(first, signal.SIGINT)
    code, _, err = home.end(first)
    assert (code, home.left()) == (130, [])
    assert "while the package ldm-fine 1.0 was imported" in err
    assert "still_there" in home.run(LIST)[1]
    first = home.start_waiting()
    code, out, err = home.run(LIST)  # beside the first, which lives
    assert (code, err) == (0, "")
    assert "still_there" in out
    os.kill(first, signal.SIGINT)
    assert home.end(first)[0] == 130
    assert home.left() == []
    first = home.start_waiting()
    os.kill(first, signal.SIGKILL)
    home.end(first)
    assert home.left() != []
    code, out, err = home.run(LIST)
    assert (code, err) == (0, "")
    assert "still_there" in out
    assert home.left() == []


def test_a_home_that_takes_no_file_changes_nothing(home: Home) -> None:
    home.cache.write_text("no folder")
    install(home.site, "fine", FINE)
    install(home.site, "abort", f"{HEAD}import os\nos.abort()\n")
    for _ in range(2):
        code, out, err = home.run(LIST)
        assert code == 0
        assert "still_there" in out
        assert "of the package ldm-abort 1.0: a process that imported it was ended by" in err


def test_every_command_says_what_it_leaves_out_and_what_ends_that(
    site: Path, ldm: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(died, "ALONE", 99)  # threads, which those who run the tests may have
    install(site, "abort", f"{HEAD}import os\nos.abort()\n")
    code, _, err = ldm("models", "list")
    assert code == 0
    (line,) = [line for line in err.splitlines() if line.startswith("warning: ")]
    assert line == (
        "warning: the package ldm-abort 1.0 is left out: a process that imported it was ended by "
        "SIGABRT. Each start tries that again, in a process of its own; "
        "LDM_DISABLE_PLUGINS=ldm-abort in the environment ends that."
    )


def test_a_copy_that_hangs_is_ended_and_one_that_raises_comes_through() -> None:
    assert end_of(lambda: time.sleep(600), patience=0.1) == "did not end within 0 s"
    assert end_of(lambda: sys.exit(1)) is None
    assert end_of(lambda: 1 / 0) is None
    assert end_of(lambda: os.closerange(3, 256)) == "was ended by SIGKILL"
