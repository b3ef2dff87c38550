"""What the system allows a process, and how Python runs in it, kept as they were while plugin
modules are imported."""

from __future__ import annotations

import codecs
import faulthandler
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

from ldm_core.plugins.looked_at import are_identical

LIMITS = ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_STACK")
"""Of memory, seconds, the size and the number of files."""


OF_TEXT = (
    *("strict", "ignore", "replace", "backslashreplace", "xmlcharrefreplace"),
    *("namereplace", "surrogateescape", "surrogatepass"),
)
"""Ways to treat letters that do not fit, which Python has itself."""
USUAL = {
    "where temporary files lie": None,
    "how long sockets wait": None,
    "what is logged": (0, 30, ()),
    "what numpy makes of errors": {
        "divide": "warn",
        "over": "warn",
        "under": "ignore",
        "invalid": "warn",
    },
}
"""Settings of modules that may be imported later, as they are at first."""


class Process:
    """The soft limits of a process, and settings of Python, as they were when this was made.
    Systems without limits have none to keep."""

    def __init__(self) -> None:
        self._limits = _limits()
        self._settings = {name: get() for name, (get, _) in _settings().items()}

    def put_back(self, changed: list[str]) -> None:
        """Have them as they were, as far as the system lets, and say what was not."""
        for name, (get, put) in _settings().items():
            before = self._settings.get(name, USUAL.get(name))
            if not are_identical(get(), before):
                put(before)
                changed.append(name)
        if sys.platform == "win32":
            return
        import resource

        lowered = [name for name, limits in _limits().items() if limits[0] != self._limits[name][0]]
        for name in lowered:
            number = vars(resource)[name]
            hard = resource.getrlimit(number)[1]
            for limits in ((self._limits[name][0], hard), self._limits[name]):
                with suppress(OSError, ValueError):  # a hard one stays so but for the superuser
                    resource.setrlimit(number, limits)
        if lowered:
            changed.append(f"the limits of the process ({', '.join(lowered)})")
        faulthandler.cancel_dump_traceback_later()  # which may end the process


@cache
def _usual_folder() -> str | None:
    """Where temporary files lie of itself, which is kept once it was asked for."""
    import tempfile

    before, tempfile.tempdir = tempfile.tempdir, None
    try:
        return tempfile.gettempdir()
    except OSError:
        return before
    finally:
        tempfile.tempdir = before


def _limits() -> dict[str, tuple[int, int]]:
    if sys.platform == "win32":
        return {}
    import resource

    numbers = vars(resource)
    return {name: resource.getrlimit(numbers[name]) for name in LIMITS if name in numbers}


def _errors_of_text() -> tuple[Any, ...]:
    return tuple(map(codecs.lookup_error, OF_TEXT))


def _set_errors_of_text(handlers: tuple[Any, ...]) -> None:
    for name, handler in zip(OF_TEXT, handlers, strict=True):
        codecs.register_error(name, handler)


def _settings() -> dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]]:
    """Settings by what they say, each with what reads and what sets it."""
    settings: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
        "what watches each line": (sys.gettrace, sys.settrace),
        "what watches each call": (sys.getprofile, sys.setprofile),
        "whether memory is collected": (
            gc.isenabled,
            lambda on: gc.enable() if on else gc.disable(),
        ),
        "what watches threads": (_watched, _set_watched),
        "how memory is collected": (_collected, _set_collected),
        "how deep calls of threads go": (threading.stack_size, threading.stack_size),
        "how often threads change": (sys.getswitchinterval, sys.setswitchinterval),
        "how long numbers may be": (sys.get_int_max_str_digits, sys.set_int_max_str_digits),
        "what is made of letters that do not fit": (_errors_of_text, _set_errors_of_text),
        "the rights of new files": (_umask, os.umask),
        "the language of the process": (_locale, _set_locale),
    }
    if (socket := sys.modules.get("socket")) is not None:
        known: Any = socket
        settings["how long sockets wait"] = (known.getdefaulttimeout, known.setdefaulttimeout)
    if (temporary := sys.modules.get("tempfile")) is not None:
        files = vars(temporary)
        settings["where temporary files lie"] = (
            lambda: (
                None
                if files["tempdir"] is None or files["tempdir"] == _usual_folder()
                else files["tempdir"]
            ),
            lambda place: files.update(tempdir=place),
        )
    if sys.platform != "win32":
        settings["which signals wait"] = (_blocked, _set_blocked)
    if "logging" in sys.modules:
        settings["what is logged"] = (logged, set_logged)
    if (numpy := sys.modules.get("numpy")) is not None:
        numbers: Any = numpy
        settings["what numpy makes of errors"] = (
            numbers.geterr,
            lambda errors: numbers.seterr(**errors),
        )
    return settings


def _watched() -> tuple[Any, Any]:
    return threading.gettrace(), threading.getprofile()


def _set_watched(what: tuple[Any, Any]) -> None:
    threading.settrace(what[0])
    threading.setprofile(what[1])


def _collected() -> tuple[Any, int, tuple[Any, ...]]:
    return gc.get_threshold(), gc.get_debug(), tuple(gc.callbacks)


def _set_collected(what: tuple[Any, int, tuple[Any, ...]]) -> None:
    gc.set_threshold(*what[0])
    gc.set_debug(what[1])
    gc.callbacks[:] = what[2]


def _blocked() -> tuple[int, ...]:
    return tuple(sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ()))))


def _set_blocked(signals: tuple[int, ...]) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, signals)


def logged() -> tuple[int, int, tuple[Any, ...]]:
    """Whether all is kept quiet, and the level and handlers of the first logger."""
    import logging

    root = logging.root
    return root.manager.disable, root.level, tuple(root.handlers)


def set_logged(what: tuple[int, int, tuple[Any, ...]]) -> None:
    """Have them so."""
    import logging

    logging.disable(what[0])
    logging.root.setLevel(what[1])
    logging.root.handlers[:] = what[2]


def _umask() -> int:
    mask = os.umask(0o077)  # which can be read only by setting it
    os.umask(mask)
    return mask


def _locale() -> str:
    import locale

    return locale.setlocale(locale.LC_ALL)


def _set_locale(words: str) -> None:
    import locale

    with suppress(locale.Error):
        locale.setlocale(locale.LC_ALL, words)
