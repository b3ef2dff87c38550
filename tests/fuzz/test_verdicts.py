"""The judges themselves: each fault that they are there for, done on purpose, is seen."""

from __future__ import annotations

import io
import json
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fuzz.case import Case, read_cases
from fuzz.conftest import TESTS, Fuzzer
from fuzz.verdicts import NAMES, Outcome, judge, snapshot

CASE = Case("path", argv=["generate", "a"])


def names(faults: list[str]) -> set[str]:
    found = {fault.partition(":")[0] for fault in faults}
    assert found <= {*NAMES}
    return found


@pytest.mark.parametrize(
    ("outcome", "seen"),
    [
        (Outcome(0), set()),
        (Outcome(2, err="error: no.\n"), set()),
        (Outcome(2, err="Usage: ldm\nError: no such option\n"), set()),
        (Outcome(1, err="error: picture 0 is not finite from step 3 on.\n"), set()),
        (Outcome(1, err="error: 0 is not finite.\nerror: 1 is not finite.\n"), set()),
        (Outcome(1, err="error: 0 is not finite.\nerror: a fault of ldm.\n"), {"code"}),
        (Outcome(2, err="error: no.\nerror: no.\n"), {"message"}),
        (Outcome(2), {"message"}),
        (Outcome(1, err="error: plugin x failed\n"), {"code"}),
        (Outcome(3, err="error: no.\n"), {"code"}),
        (Outcome(0, err="error: no.\n"), {"code"}),
        (Outcome(-11), {"code"}),
        (Outcome(None, raised="KeyError: 'x'"), {"traceback"}),
        (Outcome(2, err="Traceback (most recent call last):\nerror: x"), {"traceback"}),
        (Outcome(0, heard=("unpickled os.system",)), {"audit"}),
        (Outcome(0, memory=2**32), {"memory"}),
        (Outcome(0, out="pictures/a.png\n"), {"code"}),
        (Outcome(0, after={"x.txt": "1"}), {"elsewhere"}),
        (Outcome(0, after={"pictures/x.txt": "1"}), set()),
        (Outcome(2, err="error: x", after={"pictures/x.txt": "1"}), {"refused"}),
        (Outcome(0, after={"pictures/.ldm-0.part": "1"}), {"litter"}),
        (Outcome(0, before={"a": "1"}, after={"a": "2"}), {"lost"}),
        (Outcome(0, before={"a": "1"}), {"lost"}),
    ],
)
def test_an_end_is_judged(outcome: Outcome, seen: set[str], tmp_path: Path) -> None:
    assert names(judge(CASE, outcome, tmp_path)) == seen


@pytest.mark.parametrize(
    ("argv", "seen"),
    [
        (["generate", "a", "--lora", "owner/name@main:0.5"], set()),
        (["generate", "a", "--set", 'scheduler.x="owner/name"'], set()),
        (["generate", "owner/name"], {"audit"}),
        (["replay", "p/p.png"], {"audit"}),
        (["generate", "a", "--model", "/owner/name"], {"audit"}),
    ],
)
def test_a_person_may_ask_the_hub_and_a_file_may_not(
    argv: list[str], seen: set[str], tmp_path: Path
) -> None:
    said = "connected: socket.getaddrinfo 0, by python3.11/socket.py:getaddrinfo < model/hub.py:ask"
    case = Case("command", argv=argv)
    assert names(judge(case, Outcome(0, heard=(said,)), tmp_path)) == seen


def test_so_is_the_end_of_a_call(tmp_path: Path) -> None:
    called = Case("python", call={"name": "call"}, codes=(2,))
    assert names(judge(called, Outcome(2, err="error: no.\n"), tmp_path)) == set()
    assert names(judge(called, Outcome(0), tmp_path)) == {"code"}
    assert names(judge(called, Outcome(2, out="not finite: a tensor"), tmp_path)) == {"silent"}
    assert names(judge(called, Outcome(None, raised="TypeError"), tmp_path)) == {"traceback"}


@pytest.mark.parametrize(
    ("pixels", "said", "seen"),
    [
        (np.zeros((8, 8, 3)), "", {"silent"}),
        (np.full((8, 8, 3), 90), "", {"silent"}),
        (np.zeros((8, 8, 3)), "warning: not finite", set()),
        (np.arange(192).reshape(8, 8, 3), "", set()),
        (None, "", {"torn"}),
    ],
)
def test_a_picture_is_judged(pixels: Any, said: str, seen: set[str], tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    stream = io.BytesIO()
    array = np.arange(192).reshape(8, 8, 3) if pixels is None else pixels
    Image.fromarray(array.astype("uint8")).save(stream, "PNG")
    data = stream.getvalue()
    (tmp_path / "pictures" / "a.png").write_bytes(data[:-40] if pixels is None else data)
    after = snapshot(tmp_path)
    outcome = Outcome(0, out="pictures/a.png", err=said, after=after)
    assert names(judge(CASE, outcome, tmp_path)) == seen


def test_a_snapshot_sees_links_pipes_and_what_files_hold(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("a")
    first = snapshot(tmp_path)
    (tmp_path / "a").write_text("b")
    second = snapshot(tmp_path)
    assert first.keys() == second.keys() == {"a", "pipe", "link"}
    assert {name for name in first if first[name] != second[name]} == {"a"}


class Runs:
    def __reduce__(self) -> Any:
        return os.getpid, ()


def _pickle(folder: Path) -> None:
    pickle.loads(pickle.dumps(Runs()))


def _write(folder: Path) -> None:
    (folder.parent / "outside.txt").write_text("x")


def _through_a_link(folder: Path) -> None:
    (folder / "link").write_text("x")


def _exec(folder: Path) -> None:
    exec("x = 1")


def _eval(folder: Path) -> None:
    eval("1 + 1")


def _module(folder: Path) -> None:
    sys.path.insert(0, str(folder))
    __import__("strangers_module")


def _process(folder: Path) -> None:
    subprocess.run(["true"], check=False)


def _system(folder: Path) -> None:
    os.system("true")


def _fork(folder: Path) -> None:
    if os.fork() == 0:
        os._exit(0)


def _connect(folder: Path) -> None:
    socket.create_connection(("127.0.0.1", 9), timeout=1)


def _name(folder: Path) -> None:
    socket.getaddrinfo("localhost", 80)


def _remove(folder: Path) -> None:
    (folder.parent / "kept.txt").unlink()


def _rename(folder: Path) -> None:
    (folder / "inside.txt").rename(folder.parent / "moved.txt")


def _link(folder: Path) -> None:
    os.link(folder / "inside.txt", folder.parent / "linked.txt")


def _read(folder: Path) -> None:
    (folder.parent / "hidden" / "secret").read_text()


def _lawful(folder: Path) -> None:
    from collections import namedtuple
    from dataclasses import make_dataclass

    (folder / "a.txt").write_text("a")
    (folder / "a.txt").rename(folder / "b.txt")
    make_dataclass("Made", ["x"])
    namedtuple("Tuple", ["x"])
    (folder.parent / "kept.txt").read_text()


WRONG: dict[Callable[[Path], None], str] = {
    _pickle: "unpickled",
    _write: "for writing",
    _through_a_link: "for writing",
    _exec: "compiled",
    _eval: "compiled",
    _module: "compiled",
    _process: "started a process",
    _system: "started a process",
    _fork: "started a process",
    _connect: "connected",
    _name: "connected",
    _remove: "changed",
    _rename: "changed",
    _link: "changed",
    _read: "read ",
}


PROGRAM = f"""
import importlib.util, json, os, sys
from pathlib import Path
sys.dont_write_bytecode = True
from fuzz import hook
spec = importlib.util.spec_from_file_location("acts", {__file__!r})
acts = importlib.util.module_from_spec(spec)
sys.modules["acts"] = acts
spec.loader.exec_module(acts)
hook.install()
for number, act in enumerate([*acts.WRONG, acts._lawful]):
    folder = Path(str(number))
    acts.lay(folder)
    child = os.fork()
    if child == 0:
        hook.arm([folder / "here"], [folder / "hidden"])
        try:
            act((folder / "here").absolute())
        except PermissionError:
            pass
        (folder / "heard.json").write_text(json.dumps(hook.disarm()))
        os._exit(0)
    os.waitpid(child, 0)
"""


def lay(folder: Path) -> None:
    """What the acts meet."""
    (folder / "here").mkdir(parents=True)
    (folder / "hidden").mkdir()
    (folder / "hidden" / "secret").write_text("x")
    (folder / "kept.txt").write_text("x")
    (folder / "here" / "inside.txt").write_text("x")
    (folder / "here" / "link").symlink_to(folder.absolute() / "kept.txt")
    (folder / "here" / "strangers_module.py").write_text("x = 1\n")


@pytest.fixture(scope="module")
def acts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each of the acts, done in a process where the hook may stay."""
    folder = tmp_path_factory.mktemp("acts")
    path = os.pathsep.join([str(TESTS), *sys.path])
    end = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert end.returncode == 0, end.stderr
    return folder


def heard(folder: Path) -> list[str]:
    lines: list[str] = json.loads((folder / "heard.json").read_text())
    return lines


@pytest.mark.parametrize("act", WRONG, ids=lambda act: act.__name__.strip("_"))
def test_the_hook_hears_and_stops_what_must_not_happen(
    act: Callable[[Path], None], acts: Path
) -> None:
    folder = acts / str([*WRONG].index(act))
    lines = heard(folder)
    assert lines
    assert WRONG[act] in lines[0]
    assert {path.name for path in folder.iterdir()} == {"here", "hidden", "kept.txt", "heard.json"}
    assert (folder / "kept.txt").read_text() == "x"


def test_it_is_silent_about_what_is_lawful(acts: Path) -> None:
    assert heard(acts / str(len(WRONG))) == []


def test_the_process_that_runs_cases_tells_of_a_hang_and_goes_on(fuzzer: Fuzzer) -> None:
    hangs = Case(
        "python",
        call={"name": "call", "model": "stable-diffusion", "options": {"prompt": {"$": "sleep"}}},
        seconds=2,
    )
    fine = Case("command", argv=["models", "list"])
    (_, first, _), (code, second, _) = fuzzer.run([hangs, fine])
    assert names(first) == {"hang"}
    assert (code, second) == (0, [])


def test_every_line_of_the_corpus_is_a_case() -> None:
    cases = list(read_cases(Path(__file__).parent / "corpus"))
    assert len({case.line() for case in cases}) == len(cases) > 20
    assert all(Case.of(case.line()) == case for case in cases)
