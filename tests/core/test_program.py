"""The program ends as the interpreter would end it, with all that is to happen then."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import packages

SCRIPT = """
import atexit, sys, threading, time
from ldm_core.cli import ends, program
ends.PATIENCE = 0.1
print("unflushed", end=" ")
atexit.register(print, "called at the end")
def broken():
    raise ValueError("too late")
atexit.register(broken)
def late():
    while threading.main_thread().is_alive():  # however long the command takes
        time.sleep(0.01)
    time.sleep(0.3)
    print("from a thread", end=" ")
threading.Thread(target=late, name="late one").start()
sys.argv = ["ldm", {word!r}]
program()
print("never")
"""


@pytest.mark.parametrize(("word", "code"), [("--version", 0), ("--nonsense", 2)])
def test_threads_and_what_is_called_at_the_end_have_their_turn(word: str, code: int) -> None:
    command = [sys.executable, "-c", SCRIPT.format(word=word)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == code, ended.stderr
    assert ended.stdout.startswith("unflushed ")
    assert ended.stdout.endswith("from a thread ")
    assert "called at the end\n" in ended.stderr  # results alone are on the standard output
    assert "threads that still work: late one\n" in ended.stderr
    assert "broken" in ended.stderr
    assert "failed at the end of the program: ValueError: too late\n" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ("nonsense" in ended.stderr) == (code == 2)


LEFT_BEHIND = """
import atexit, os, sys, threading, time
from ldm_core.cli import program
def ends():
    os.write(1, b"by number, ")
    print("by name, ", end="")
    os._exit(77)
def later():
    while "ldm_core.cli.signals" not in sys.modules or threading.main_thread().is_alive():
        time.sleep(0.01)
    ends()
if {thread}:
    threading.Thread(target=later).start()
else:
    atexit.register(ends)
ends.__globals__["__name__"] = "somebody"  # whose prints are no results
sys.argv = ["ldm", {word!r}]
program()
"""


@pytest.mark.parametrize("thread", [False, True], ids=["at exit", "in a thread"])
@pytest.mark.parametrize(("word", "code"), [("--version", 0), ("--nonsense", 2)])
def test_what_is_left_behind_changes_neither_results_nor_exit_code(
    word: str, code: int, thread: bool
) -> None:
    script = LEFT_BEHIND.format(word=word, thread=thread)
    command = [sys.executable, "-c", script]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == code, ended.stderr
    assert ended.stdout == ("" if code else f"ldm {version('ldm-core')}\n")
    assert "by number, by name, warning: something that ran beside it ended" in ended.stderr
    assert "os._exit(77)" in ended.stderr


WHILE_IT_WORKS = """
import os, threading
from ldm_core.cli.ends import LastWord
LastWord()
threading.Thread(target=os._exit, args=(0,)).start()
threading.Event().wait()
"""


def test_a_thread_that_ends_the_program_while_it_works_is_told() -> None:
    command = [sys.executable, "-c", WHILE_IT_WORKS]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended.stderr
    assert ended.stderr == (
        "error: something that ran beside it ended the program by os._exit(0) before it was done\n"
    )


BEGUN = """
import os, threading, time
from ldm_core import hookimpl
ldm_api = ">=2,<3"
def later():
    at_work.wait()
    os._exit(9)
def command():
    "Ends the program."
    at_work.set()
    thread.join()
    os._exit(0)
@hookimpl
def ldm_commands(register):
    register("end-it", command)
at_work = threading.Event()
thread = threading.Thread(target=later, daemon=True)
thread.start()
threading.Thread(target=time.sleep, args=(1000,)).start()
"""
WITH_LITTLE_PATIENCE = """
import sys
from ldm_core.cli import ends, program
ends.PATIENCE = 0.1
sys.argv = ["ldm", *sys.argv[1:]]
program()
"""


def test_a_plugin_that_ends_the_program_or_keeps_it_from_its_end_is_named(tmp_path: Path) -> None:
    modules, entry = {"left_here.py": BEGUN}, {"ldm": {"x": "left_here"}}
    packages.install(tmp_path, "ldm-left", modules=modules, entry_points=entry)
    paths = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    around = {**os.environ, "PYTHONPATH": paths, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-c", WITH_LITTLE_PATIENCE, "end-it"]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, env=around, timeout=300
    )
    assert ended.returncode == 1, ended.stderr
    lines = ended.stderr.splitlines()
    whose = "the command 'end-it' of the package ldm-left 1.0"
    assert f"error: {whose} ended the program by os._exit(0)" in lines
    assert any("os._exit(9) in a thread that it left at its import" in line for line in lines)
    left = "the package ldm-left 1.0 began a thread at its import, which still works, and is left"
    assert any(left in line for line in lines)
