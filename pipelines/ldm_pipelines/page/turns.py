"""One run after the other, each of which its person may stop."""

from __future__ import annotations

import threading
from typing import Any

from ldm_core.errors import LdmError

PATIENCE = 1.0
"""Seconds after which it is said that a run waits for another."""


class Turn:
    """The machine for one run: ``while not turn.begins(): ...``, then ``with turn as stopped:``."""

    def __init__(
        self, alone: threading.Lock, running: dict[str, threading.Event], whose: str
    ) -> None:
        self._alone, self._running, self._whose = alone, running, whose
        self._stopped = running[whose] = threading.Event()

    def begins(self) -> bool:
        """Wait a while for the runs before this one; whether it has the machine now, or was
        stopped while it waited.

        Raises:
            LdmError: it was stopped.
        """
        if self._stopped.is_set():
            self._running.pop(self._whose, None)
            raise LdmError("the run was stopped while it waited for another.")
        return self._alone.acquire(timeout=PATIENCE)

    def __enter__(self) -> threading.Event:
        return self._stopped

    def __exit__(self, *_: Any) -> None:
        if self._running.get(self._whose) is self._stopped:
            del self._running[self._whose]
        self._alone.release()
