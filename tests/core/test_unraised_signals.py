"""A signal that comes where nothing can be raised is heard all the same."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from typing import Any

import pytest

from ldm_core.cli.signals import Stop, StopSignals


def deaf(signum: int) -> None:
    """Hear a signal in a callback of C, out of which nothing is raised."""

    def kill() -> None:
        os.kill(os.getpid(), signum)
        time.sleep(0.001)

    ctypes.CFUNCTYPE(None)(kill)()


@pytest.fixture
def handlers() -> Any:
    """Those of a program that has just begun."""
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_it_comes_again(handlers: Any, signum: int, capfd: pytest.CaptureFixture[str]) -> None:
    hook = sys.unraisablehook
    with StopSignals() as signals:
        deaf(signum)
        assert signals.signum == signum
        with pytest.raises(Stop) as stop:
            time.sleep(30)
    assert stop.value.signum == signum
    assert "Traceback" not in capfd.readouterr().err
    assert sys.unraisablehook is hook


def test_it_does_not_come_once_the_program_has_ended(handlers: Any) -> None:
    heard: list[int] = []
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with StopSignals() as signals:
        deaf(signal.SIGTERM)
    assert signals.signum == signal.SIGTERM
    signal.signal(signal.SIGTERM, lambda signum, _: heard.append(signum))
    time.sleep(0.5)
    assert not heard


def test_other_errors_are_told_as_ever(handlers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[BaseException] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda event: told.append(event.exc_value))

    def fail() -> None:
        raise ValueError("in a callback")

    with StopSignals():
        ctypes.CFUNCTYPE(None)(fail)()
    assert [str(error) for error in told] == ["in a callback"]
