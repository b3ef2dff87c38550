"""Fuzzers of every kind of input: no traceback, no hang, nothing silent, no wrong exit code.

The same cases every time, half a minute of them; `LDM_FUZZ_SECONDS` sets how long the slow test
goes on drawing others, an hour where it is not set. A fault that one finds becomes a line in
``corpus``, which is run first.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from fuzz.case import Case, read_cases
from fuzz.conftest import TESTS, Ended, Fuzzer
from fuzz.generating import draw
from fuzz.kinds.all import KINDS
from fuzz.verdicts import NAMES
from tiny.covering import some_of

CORPUS = Path(__file__).parent / "corpus"
CASES = 40
"""Of each kind, at every change."""


def shown(cases: list[Case], ends: list[Ended]) -> str:
    """Each case that ended in a fault, as a line to put into the corpus."""
    bad = [(case, faults) for case, (_, faults, _) in zip(cases, ends, strict=True) if faults]
    return "\n".join(f"{faults}\n{case.line()}" for case, faults in bad)


Drawn = Callable[[str], tuple[list[Case], list[Ended]]]


@pytest.fixture(scope="module")
def drawn(fuzzer: Fuzzer) -> Drawn:
    """The cases of a kind and how they end, run once."""

    @cache
    def run(kind: str) -> tuple[list[Case], list[Ended]]:
        cases = draw(KINDS[kind](), CASES, start=1)
        return cases, fuzzer.run(cases)

    return run


def test_every_fault_that_was_found_stays_mended(fuzzer: Fuzzer) -> None:
    cases = list(read_cases(CORPUS))
    assert cases
    assert shown(cases, fuzzer.run(cases)) == ""


@pytest.mark.parametrize("kind", some_of(KINDS, 0, 2))
def test_no_case_ends_in_a_fault(kind: str, drawn: Drawn) -> None:
    cases, ends = drawn(kind)
    assert len(cases) == CASES
    assert shown(cases, ends) == ""


@pytest.mark.parametrize("kind", KINDS)
def test_cases_are_neither_all_refused_nor_all_alike(kind: str, drawn: Drawn) -> None:
    _, ends = drawn(kind)
    messages = {message for _, _, message in ends}
    assert sum(code == 0 for code, _, _ in ends) >= CASES // 20
    assert len(messages) >= CASES // 10


def test_the_same_seed_draws_the_same_cases() -> None:
    first, second = (draw(KINDS["command"](), 20, start=7) for _ in range(2))
    assert [c.line() for c in first] == [c.line() for c in second]
    assert draw(KINDS["command"](), 20, start=8) != first


@pytest.mark.slow
def test_other_cases_for_an_hour(tmp_path: Path) -> None:
    seconds = float(os.environ.get("LDM_FUZZ_SECONDS", 3600))
    findings = tmp_path / "findings.jsonl"
    end = subprocess.run(
        [
            *(sys.executable, "-m", "fuzz", "run", "--corpus", "--findings", findings),
            *("--cases", "10000000", "--seconds", str(seconds), "--seed", str(int(time.time()))),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
    )
    summary = json.loads(end.stdout.splitlines()[-1])
    assert summary["cases"] > seconds
    assert summary["faults"] == dict.fromkeys(NAMES, 0), findings.read_text()
