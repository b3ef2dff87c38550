"""What the system allows a process, and how Python runs in it, kept as they were while plugin
modules are imported."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

LIMITS = ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_STACK")
"""Of memory, seconds, the size and the number of files."""


USUAL = {"how long sockets wait": None, "what is logged": (0, 30, ())}
"""Settings of modules that may be imported later, as they are at first."""


class Process:
    """The soft limits of a process, whether a timer runs that sends it a signal, and settings of
    Python, as they were when this was made. Systems without either have nothing to keep."""

    def __init__(self) -> None:
        self._limits = _limits()
        self._timer = _timer()
        self._settings = {name: get() for name, (get, _) in _settings().items()}

    def put_back(self, changed: list[str]) -> None:
        """Have them as they were, as far as the system lets, and say what was not."""
        for name, (get, put) in _settings().items():
            before = self._settings.get(name, USUAL.get(name))
            if get() != before:
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
        if _timer() and not self._timer:
            changed.append("the timer that sends SIGALRM")
            signal.setitimer(signal.ITIMER_REAL, 0)


def _limits() -> dict[str, tuple[int, int]]:
    if sys.platform == "win32":
        return {}
    import resource

    numbers = vars(resource)
    return {name: resource.getrlimit(numbers[name]) for name in LIMITS if name in numbers}


def _timer() -> bool:
    """Whether one runs."""
    return sys.platform != "win32" and signal.getitimer(signal.ITIMER_REAL)[0] > 0


def _settings() -> dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]]:
    """Settings by what they say, each with what reads and what sets it."""
    settings: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
        "what watches each line": (sys.gettrace, sys.settrace),
        "what watches each call": (sys.getprofile, sys.setprofile),
        "whether memory is collected": (
            gc.isenabled,
            lambda on: gc.enable() if on else gc.disable(),
        ),
        "how often threads change": (sys.getswitchinterval, sys.setswitchinterval),
        "how long numbers may be": (sys.get_int_max_str_digits, sys.set_int_max_str_digits),
        "the rights of new files": (_umask, os.umask),
        "the language of the process": (_locale, _set_locale),
    }
    if (socket := sys.modules.get("socket")) is not None:
        known: Any = socket
        settings["how long sockets wait"] = (known.getdefaulttimeout, known.setdefaulttimeout)
    if "logging" in sys.modules:
        settings["what is logged"] = (_logged, _set_logged)
    return settings


def _logged() -> tuple[int, int, tuple[Any, ...]]:
    import logging

    root = logging.root
    return root.manager.disable, root.level, tuple(root.handlers)


def _set_logged(what: tuple[int, int, tuple[Any, ...]]) -> None:
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
