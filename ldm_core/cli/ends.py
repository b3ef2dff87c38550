"""How the program ends: one message, and an exit code that says whose fault it was."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType, FunctionType, MethodType, TracebackType
from typing import NoReturn, TextIO

from ldm_core.cli.signals import Stop
from ldm_core.cli.streams import ClosedOutput
from ldm_core.errors import (
    LdmError,
    NotFiniteError,
    PluginError,
    notes_of,
    plainly,
    printable,
    with_class,
)
from ldm_core.machine import asked_to_stop, machine_error
from ldm_core.media.json_text import json_text
from ldm_core.plugins.blame import blame, culprit
from ldm_core.plugins.discovery import answering, packages, threads_left

FAILED = 1
"""A plugin failed, or this program did, or what came out is not finite."""
BAD_INPUT = 2
MACHINE = 3
SIGNALLED = 128
"""And the signal's number: 130 for Ctrl-C, 143 for SIGTERM."""
JSON = "--json"
"""The flag with which the standard output is JSON, errors among it."""
PATIENCE = 2.0
"""Seconds after which it is said what the program waits for at its end."""
TRACEBACK = "LDM_TRACEBACK"
"""The variable that, set to anything, has the whole traceback printed."""


def say(text: str) -> None:
    """Print to the standard error stream, where there still is one."""
    try:
        print(printable(text), file=sys.stderr, flush=True)
    except (OSError, ValueError):  # closed, full, or read by nobody any longer
        with suppress(OSError, ValueError):  # nor is it to be complained of again at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def say_traceback(error: BaseException) -> None:
    """Print the whole traceback of an error, where `TRACEBACK` asks for that."""
    if os.environ.get(TRACEBACK):
        with suppress(Exception):  # what is shown of an error may be anybody's
            say("".join(traceback.format_exception(error)).rstrip())


def leave(code: int, last: LastWord) -> NoReturn:
    """End the process with an exit code, as the interpreter does: threads are waited for, but for
    such as a plugin module began, and what is to be called at the end is called. Only what torch
    and the like have set up is not taken apart piece by piece, which takes half a second; the
    system does it at once.

    What was left behind, a thread or a function that is called now, can say what it likes on the
    standard error stream; results and exit code are these, whatever it ends the process with."""
    last.code = code
    timer = threading.Timer(PATIENCE, _say_who_works)
    timer.daemon = True
    timer.start()
    _wait_for_threads()
    timer.cancel()
    _flush(sys.stdout)
    sys.stdout = sys.stderr  # the results are out
    sys.unraisablehook = _say_at_the_end
    atexit._run_exitfuncs()
    for stream in (sys.stderr, sys.__stdout__, sys.__stderr__):
        _flush(stream)
    last.end(code)


class LastWord:
    """Has the process end with the exit code that is ours to say, whoever calls `os._exit`, such as
    a thread or a function for the end that a plugin left behind. A process that is forked of this
    one ends as it likes.

    Attributes:
        code: of the program, once it is known.
    """

    def __init__(self) -> None:
        self.code: int | None = None
        self._end, self._own, self._results = os._exit, os.getpid(), sys.stdout
        os._exit = self._ended

    def _ended(self, status: int) -> NoReturn:
        if os.getpid() != self._own:
            self._end(status)
        whose = _whose(sys._getframe(1))
        here = threading.current_thread()
        if self.code is None and here is threading.main_thread():
            by = f"{whose} ended the program by " if whose else ""
            raise SystemExit(f"{by}os._exit({status})")
        if self.code is None and here in threads_left():
            called = f"{whose or threads_left()[here]} called os._exit({status}) in a thread"
            say(f"warning: {called} that it left at its import, which ends that thread alone")
            raise SystemExit
        _flush(self._results)
        by = whose or "something that ran beside it"
        words = f"{by} ended the program by os._exit({status})"
        say(f"error: {words} before it was done" if self.code is None else f"warning: {words}")
        self.end(FAILED if self.code is None else self.code)

    def end(self, code: int) -> NoReturn:
        """End the process."""
        self._end(code)


def _say_who_works() -> None:
    """Say for which threads the program waits, such as one that a plugin left behind."""
    frames = sys._current_frames()
    names = []
    for thread in _at_work() - threads_left().keys():
        whose = _whose(frames.get(thread.ident or 0))
        names.append(f"{thread.name} of {whose}" if whose else thread.name)
    if names:
        say(f"note: all is done but for threads that still work: {', '.join(sorted(names))}")


def _at_work() -> set[threading.Thread]:
    """The threads that Python waits for at its end."""
    main = threading.main_thread()
    return {one for one in threading.enumerate() if one is not main and not one.daemon}


def _wait_for_threads() -> None:
    """Wait as Python does; for threads that a plugin module began, which may never end, no longer
    than is said."""
    wait: Callable[[], None] = threading._shutdown  # type: ignore[attr-defined]
    if not _at_work() & threads_left().keys():
        wait()
        return
    threading.Thread(target=wait, daemon=True).start()  # and it may wait for this thread too
    since = time.monotonic()
    while left := _at_work():
        time.sleep(0.02)
        if left - threads_left().keys():
            since = time.monotonic()
        elif time.monotonic() - since > PATIENCE:
            who = ", ".join(sorted({whose for one, whose in threads_left().items() if one in left}))
            say(f"warning: {who} began a thread at its import, which still works, and is left so")
            return


def _whose(frame: FrameType | None) -> str | None:
    """Whose plugin's code it is that runs in a frame, in words; None of no plugin's."""
    trace = None
    while frame is not None:
        trace = TracebackType(trace, frame, frame.f_lasti, frame.f_lineno or 1)
        frame = frame.f_back
    return _who_failed(SystemExit().with_traceback(trace))


def _who_failed(error: BaseException) -> str | None:
    """Whose plugin's code an error is of, in words; while plugins are listed, whose package's."""
    if (whose := culprit(error, None, answering())) is not None:
        return whose
    known = packages()
    names = (str(f.f_globals.get("__name__")) for f, _ in traceback.walk_tb(error.__traceback__))
    return next((known[top] for n in names if (top := n.partition(".")[0]) in known), None)


def _flush(stream: TextIO | None) -> None:
    with suppress(OSError, ValueError):  # closed, or read by nobody any longer
        if stream is not None:
            stream.flush()


def say_of_thread(what: threading.ExceptHookArgs) -> None:
    """Say in a line what ended a thread, such as one that a plugin left behind."""
    error = what.exc_value
    if error is None or isinstance(error, SystemExit):
        return
    say_traceback(error)
    whose = _who_failed(error)
    name = "" if what.thread is None else f" '{what.thread.name}'"
    say(f"warning: the thread{name}{f' of {whose}' if whose else ''} failed: {with_class(error)}")


def say_unraised(what: sys.UnraisableHookArgs, when: str = "where nobody called it") -> None:
    """Say in a line what failed that Python called by itself, such as the finalizer of an object
    that a plugin left behind."""
    error = what.exc_value
    if error is None:
        return
    say_traceback(error)
    whose = _who_failed(error)
    called = what.object.__func__ if type(what.object) is MethodType else what.object
    name = called.__qualname__ if type(called) is FunctionType else f"a {type(called).__name__}"
    name = printable(name.replace("<locals>.", ""))
    say(f"warning: {name}{f' of {whose}' if whose else ''} failed {when}: {with_class(error)}")


def _say_at_the_end(what: sys.UnraisableHookArgs) -> None:
    say_unraised(what, "at the end of the program")


def ended(error: BaseException, signum: int | None = None) -> int:
    """Say what ended the program, in one message, and return its exit code.

    Args:
        error: what was raised. Its notes (`BaseException.add_note`) say what is on disk.
        signum: a signal that was heard, whatever a library made of it.
    """
    error = plainly(error)
    notes = notes_of(error)
    say_traceback(error)
    if isinstance(error, Stop):
        signum = error.signum
    elif isinstance(error, KeyboardInterrupt) or asked_to_stop(error):
        signum = signal.SIGINT
    around = answering()
    if signum is not None:
        whose = culprit(error, None, around)
        words = ": ".join([f"interrupted in {whose}" if whose else "interrupted", *notes])
        say(words)
        say_in_json(words, "", SIGNALLED + signum)
        return SIGNALLED + signum
    if not isinstance(error, LdmError):
        told = blame(error, None, "while the command ran", around)
        if told is not None:
            error = told
    message, code = _judged(error)
    if isinstance(error, PluginError):  # what is kept stands in the one line
        first = "; ".join([error.message.removesuffix("."), *notes])
        message, notes = f"{first}\n  {error.hint}", []
    if message is not None or notes:
        words = str(error) if message is None else message
        say("\n  ".join([f"error: {words}", *notes]))
        if not isinstance(error, ClosedOutput):
            first, _, hint = words.partition("\n")
            say_in_json(first, "\n".join([hint.strip(), *notes]).strip(), code)
    return code


def in_json(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for JSON."""
    words = list(arguments)
    return JSON in (words[: words.index("--")] if "--" in words else words)


def say_in_json(message: str, hint: str, code: int) -> None:
    """Print an error as an object on a line of its own, where JSON is asked for."""
    if in_json(sys.argv[1:]):
        with suppress(OSError, ValueError, ClosedOutput):
            print(json_text({"error": message, "hint": hint, "exit_code": code}), flush=True)


def _judged(error: BaseException) -> tuple[str | None, int]:
    """What to say of an error, or nothing where that is no complaint, and the exit code."""
    if isinstance(error, ClosedOutput) and error.left:
        return None, MACHINE
    if fault := machine_error(error):
        if isinstance(error, LdmError) and error is not fault:
            return f"{error.message}\n  {fault}", MACHINE
        return str(fault), MACHINE
    if isinstance(error, NotFiniteError | PluginError):
        return str(error), FAILED
    if isinstance(error, LdmError):
        return str(error), BAD_INPUT
    look = f"{TRACEBACK}=1 in the environment shows where."
    return f"{with_class(error)}\n  This is a fault of ldm: please report it. {look}", FAILED
