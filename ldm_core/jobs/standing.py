"""How far a job is over all its processes, read from its ledger, and which of them says it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from ldm_core.errors import LdmError
from ldm_core.jobs.claims import OF_LEDGER, Claims
from ldm_core.jobs.ledger import Ledger
from ldm_core.jobs.pace import Standing
from ldm_core.jobs.processes import size_at_start
from ldm_core.machine import refused

if TYPE_CHECKING:
    from ldm_core.jobs.job import Job

SPEAKER = OF_LEDGER + 1
"""The byte that is claimed by the process that says how far the job is. The kernel gives it back
when that dies, and then another claims it."""


class Watch:
    """Sees how far a job is; close it at the end.

    What failed before it began is tried again, and counts as left. It may be asked by several
    threads.
    """

    def __init__(self, job: Job) -> None:
        self._pictures = sum(1 for _ in job.pictures)
        self._ledger = Ledger(job.folder.ledger, job.asked.pictures, nullcontext, size_at_start())
        self._ledger.read()
        job.forget_gone(self._ledger)
        self._claims = Claims(job.folder.claims)
        self._lock = threading.Lock()
        self._speaks = self._ends = False

    def standing(self) -> Standing:
        """How far the job is.

        Raises:
            OSError: the ledger cannot be read.
        """
        with self._lock:
            return self._standing()

    def speaks(self) -> bool:
        """Whether this process is the one to say it; it claims that where no other has it."""
        with self._lock:
            if not self._speaks:
                try:
                    self._speaks = self._claims.take([SPEAKER])
                    # of a job that is done, the one before has said so
                    self._ends = self._speaks and self._standing().left > 0
                except (OSError, LdmError):  # whoever makes pictures says what is wrong
                    return False
            return self._speaks

    @property
    def ends(self) -> bool:
        """Whether this process is the one to say that the job is at its end."""
        return self._ends

    def _standing(self) -> Standing:
        self._ledger.read()
        return Standing(self._pictures, self._ledger.done, self._ledger.failed)

    def close(self) -> None:
        """Let another one speak."""
        with self._lock:
            self._claims.close()
            self._speaks = self._ends = False


@contextmanager
def watched(job: Job) -> Iterator[Watch]:
    """Watch a job.

    Raises:
        LdmError: its ledger is no ledger.
        MachineError: its folder cannot be read or written to.
    """
    try:
        watch = Watch(job)
    except OSError as error:
        raise refused(f"the job in '{job.folder.path}' cannot go on", error) from error
    try:
        yield watch
    finally:
        watch.close()
