"""A process that runs cases, started once; the tests themselves stay free of its hook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fuzz.case import Case

TESTS = Path(__file__).parents[1]
Ended = tuple[int | None, list[str], str]
"""Of a case the exit code, the faults and the message."""


class Fuzzer:
    """Asks the process for how cases end."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, cases: Sequence[Case]) -> list[Ended]:
        """How each case ends."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        lines = [json.loads(case.line()) for case in cases]
        self._process.stdin.write(json.dumps(lines) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the process that runs the cases has gone"
        result: Any = json.loads(answer)
        return [(code, faults, message) for code, faults, message in result]


@pytest.fixture(scope="session")
def fuzzer() -> Iterator[Fuzzer]:
    path = os.pathsep.join([str(TESTS), *sys.path])
    process = subprocess.Popen(
        [sys.executable, "-m", "fuzz", "serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", "the process that runs the cases did not start"
    yield Fuzzer(process)
    assert process.stdin is not None
    process.stdin.close()
    process.wait(60)
