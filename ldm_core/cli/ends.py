"""How the program ends: one message, and an exit code that says whose fault it was."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import traceback
from contextlib import suppress
from typing import NoReturn, TextIO

from ldm_core.cli.signals import Stop
from ldm_core.cli.streams import ClosedOutput
from ldm_core.errors import LdmError, NotFiniteError, PluginError, printable, with_class
from ldm_core.machine import machine_error
from ldm_core.plugins.blame import blame
from ldm_core.plugins.registry import installed

FAILED = 1
"""A plugin failed, or this program did, or what came out is not finite."""
BAD_INPUT = 2
MACHINE = 3
SIGNALLED = 128
"""And the signal's number: 130 for Ctrl-C, 143 for SIGTERM."""
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


def leave(code: int) -> NoReturn:
    """End the process with an exit code, as the interpreter does: threads are waited for, and what
    is to be called at the end is called. Only what torch and the like have set up is not taken
    apart piece by piece, which takes half a second; the system does it at once."""
    timer = threading.Timer(PATIENCE, _say_who_works)
    timer.daemon = True
    timer.start()
    threading._shutdown()  # type: ignore[attr-defined]
    timer.cancel()
    _flush(sys.stdout)
    sys.stdout = sys.stderr  # the results are out
    sys.unraisablehook = _say_unraised
    atexit._run_exitfuncs()
    for stream in (sys.stderr, sys.__stdout__, sys.__stderr__):
        _flush(stream)
    os._exit(code)


def _say_who_works() -> None:
    """Say for which threads the program waits, such as one that a plugin left behind."""
    main = threading.main_thread()
    names = [t.name for t in threading.enumerate() if t is not main and not t.daemon]
    if names:
        say(f"note: all is done but for threads that still work: {', '.join(sorted(names))}")


def _flush(stream: TextIO | None) -> None:
    with suppress(OSError, ValueError):  # closed, or read by nobody any longer
        if stream is not None:
            stream.flush()


def _say_unraised(what: sys.UnraisableHookArgs) -> None:
    """Say in a line what failed of that which was to be called at the end."""
    if what.exc_value is not None:
        failed = with_class(what.exc_value)
        say(f"warning: {what.object} failed at the end of the program: {failed}")


def ended(error: BaseException, signum: int | None = None) -> int:
    """Say what ended the program, in one message, and return its exit code.

    Args:
        error: what was raised. Its notes (`BaseException.add_note`) say what is on disk.
        signum: a signal that was heard, whatever a library made of it.
    """
    notes: list[str] = list(getattr(error, "__notes__", ()))
    if os.environ.get(TRACEBACK):
        with suppress(Exception):  # what is shown of an error may be anybody's
            say("".join(traceback.format_exception(error)).rstrip())
    if isinstance(error, Stop):
        signum = error.signum
    elif isinstance(error, KeyboardInterrupt):
        signum = signal.SIGINT
    if signum is not None:
        say(": ".join(["interrupted", *notes]))
        return SIGNALLED + signum
    if not isinstance(error, LdmError):
        told = blame(error, None, "while the command ran", installed().plugins)
        if told is not None:
            error = told
    message, code = _judged(error)
    if isinstance(error, PluginError):  # what is kept stands in the one line
        first = "; ".join([error.message.removesuffix("."), *notes])
        message, notes = f"{first}\n  {error.hint}", []
    if message is not None or notes:
        words = str(error) if message is None else message
        say("\n  ".join([f"error: {words}", *notes]))
    return code


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
