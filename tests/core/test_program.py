"""The program ends as the interpreter would end it, with all that is to happen then."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
