"""What processes and files that begin later inherit of this process: its environment, and which
rights new files have."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any

from ldm_core.plugins.contents import few

OF_LIBRARIES = ("CUDA_", "KINETO_", "KMP_", "NCCL_", "PYTORCH_", "TORCH", "TRITON_")
"""How variables begin that torch and its compilers set themselves when they are first used."""
STATUS = "/proc/self/status"
UMASK = b"\nUmask:"
ENVIRONMENT = os.environ


class Environment:
    """The environment as it was when this was made.

    Args:
        run: plugins run, beside which torch may set variables of its own (`OF_LIBRARIES`).
    """

    def __init__(self, *, run: bool = False) -> None:
        self._before = dict(_variables())
        self._run = run

    def put_back(self, changed: list[str]) -> None:
        """Have it as it was, and say what was not."""
        now = _variables()
        if now == self._before:
            return
        names = []
        for name in {name for name, _ in now.items() ^ self._before.items()}:
            word, before = os.fsdecode(name), self._before.get(name)
            if before is not None:
                ENVIRONMENT[word] = os.fsdecode(before)
            elif self._run and word.lstrip("_").startswith(OF_LIBRARIES):
                continue
            else:
                del ENVIRONMENT[word]
            names.append(word)
        if names:
            changed.append(f"the environment ({few(sorted(names))})")


class Rights:
    """The rights of new files as they were when this was made. They are read where the system says
    them: asking by setting them would give a file that another thread makes meanwhile others."""

    def __init__(self) -> None:
        self._before = _umask()

    def put_back(self, changed: list[str]) -> None:
        """Have them as they were, and say where they were not."""
        if self._before is not None and _umask() != self._before:
            os.umask(self._before)
            changed.append("the rights of new files")


def _variables() -> dict[Any, Any]:
    """The environment as the system has it: reading each of it as text takes long."""
    raw: dict[Any, Any] = vars(ENVIRONMENT)["_data"]
    return raw


def _umask() -> int | None:
    """The mask; None where no system says it."""
    if sys.platform != "linux":
        return None
    with suppress(OSError, ValueError, IndexError):
        file = os.open(STATUS, os.O_RDONLY)
        try:
            return int(os.read(file, 4096).partition(UMASK)[2].split(maxsplit=1)[0], 8)
        finally:
            os.close(file)
    return None
