"""A job that is asked to stop ends after the batch in work; asked twice, at once."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ldm_core.cli.signals import PatientSignals, Stop, StopSignals
from ldm_core.jobs.making import Making


def send(signum: int) -> None:
    os.kill(os.getpid(), signum)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_is_kept_and_the_second_stops(signum: int) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with StopSignals(), PatientSignals() as patient:
        assert not patient.heard()
        send(signum)
        assert patient.heard()
        assert patient.signum == signum
        with pytest.raises(Stop) as stop:
            send(signum)
        assert stop.value.signum == signum
    assert {number: signal.getsignal(number) for number in before} == before


def test_it_stops_at_once_again_when_it_is_over() -> None:
    with StopSignals():
        with PatientSignals():
            pass
        with pytest.raises(Stop):
            send(signal.SIGTERM)


def test_one_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals(), PatientSignals() as patient:
            send(signal.SIGHUP)
            assert not patient.heard()
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("times", [1, 2])
def test_a_job_that_is_stopped(
    times: int,
    signum: int,
    code: int,
    ldm: Any,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = "".join(json.dumps({"prompt": f"a {i}"}) + "\n" for i in range(6))
    (tmp_path / "a.jsonl").write_text(lines)
    command = ["generate", "--prompts", "a.jsonl", "--model", folder, "--steps", "1", "--seed", "1"]
    command += ["--batch-size", "2", "--out", "o"]
    batches, calls = Making.batches, [0]

    def stopped(self: Making, pipe: Any, call: Any) -> Iterator[Any]:
        calls[0] += 1
        if calls[0] == 2:
            for _ in range(times):
                send(signum)
        return batches(self, pipe, call)

    monkeypatch.setattr(Making, "batches", stopped)
    ended, out, error = ldm(*command)
    count = 4 if times == 1 else 2
    assert (ended, len(out.split())) == (code, count)
    assert f"interrupted: {count} pictures are in o; the same command goes on with" in error
    assert len((tmp_path / "o" / "results.jsonl").read_text().splitlines()) == count
    assert not list((tmp_path / "o").glob(".ldm-*.part"))
    ended, out, _ = ldm(*command)
    assert (ended, len(out.split())) == (0, 6 - count)
