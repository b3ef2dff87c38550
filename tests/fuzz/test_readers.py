"""Readers of bytes under a fuzzer that is guided by which lines they reach."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys

import pytest

from fuzz.conftest import TESTS

RUNS = 8_000
"""Inputs of each reader at every change; the same ones every time, by the seed."""
HERE = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="the package atheris is not installed; it has wheels for Linux and few Pythons",
)


def fuzz(reader: str, *options: str) -> int:
    """How many inputs were read."""
    end = subprocess.run(
        [sys.executable, "-m", "fuzz.readers", reader, *options],
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
    )
    assert end.returncode == 0, (end.stdout + end.stderr)[-4000:]
    executed = re.search(r"number_of_executed_units: (\d+)", end.stderr)
    assert executed is not None
    return int(executed[1])


@HERE
@pytest.mark.parametrize("reader", ["png", "notes", "toml", "safetensors"])
def test_bytes_end_in_a_value_or_one_of_our_errors(reader: str) -> None:
    assert fuzz(reader, f"-runs={RUNS}", "-seed=1") >= RUNS


@HERE
@pytest.mark.slow
@pytest.mark.parametrize("reader", ["png", "notes", "toml", "safetensors"])
def test_so_do_others_for_some_minutes(reader: str) -> None:
    seconds = float(os.environ.get("LDM_FUZZ_SECONDS", 3600)) / 12
    assert fuzz(reader, f"-max_total_time={int(seconds)}") > RUNS
