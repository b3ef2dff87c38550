"""What the system allows a process, kept as it was while plugin modules are imported."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress

LIMITS = ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_STACK")
"""Of memory, seconds, the size and the number of files."""


class Process:
    """The soft limits of a process, and whether a timer runs that sends it a signal, as they were
    when this was made. Systems without either have nothing to keep."""

    def __init__(self) -> None:
        self._limits = _limits()
        self._timer = _timer()

    def put_back(self, changed: list[str]) -> None:
        """Have them as they were, as far as the system lets, and say what was not."""
        if sys.platform == "win32":
            return
        import resource

        lowered = [name for name, limits in _limits().items() if limits[0] != self._limits[name][0]]
        for name in lowered:
            number = vars(resource)[name]
            hard = resource.getrlimit(number)[1]
            with suppress(OSError, ValueError):  # a hard limit that is lowered stays so
                resource.setrlimit(number, (self._limits[name][0], hard))
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
