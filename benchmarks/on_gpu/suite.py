"""The plugins' tests, with this device as the one that nothing chosen means, and TF32 off."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from on_gpu.bench import Bench, Figures

ROOT = Path(__file__).resolve().parents[2]
RESULT = re.compile(r"\b(PASSED|FAILED|SKIPPED|ERROR|XFAIL)\b")
TEST = re.compile(r"tests/\S+?\.py::\S+")


def tests(bench: Bench, paths: list[str], marks: str, processes: int) -> Figures:
    """How many tests ended how, and the names of those that failed."""
    command = [sys.executable, "-m", "pytest", "-v", "--tb=line", "-m", marks, *paths]
    if processes > 1:
        command += ["-n", str(processes), "--dist", "loadfile"]
    environment = {
        **os.environ,
        "ACCELERATE_TORCH_DEVICE": bench.device,
        "NVIDIA_TF32_OVERRIDE": "0",
    }
    left = max(bench.deadline - time.monotonic(), 5.0)
    ended = "done"
    try:
        run = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, timeout=left, check=False
        )
        output = run.stdout
    except subprocess.TimeoutExpired as late:
        output, ended = late.stdout or b"", "its time was up"
    lines = output.decode(errors="replace").splitlines()
    counts: dict[str, int] = {}
    failed: dict[str, str] = {}
    for line in lines:
        test, result = TEST.search(line), RESULT.search(line)
        if test is None or result is None or line.startswith(("FAILED", "ERROR", "SKIPPED")):
            continue  # the summary says it again
        counts[result[0].lower()] = counts.get(result[0].lower(), 0) + 1
        if result[0] in ("FAILED", "ERROR"):
            failed[test[0]] = ""
    for line in lines:
        test = TEST.search(line)
        if line.startswith(("FAILED", "ERROR")) and test is not None and " - " in line:
            failed[test[0]] = line.partition(" - ")[2][:160]
    return {
        "end": ended,
        **counts,
        "failures": [f"{test}: {reason}" for test, reason in failed.items()],
        "last": lines[-1:],
    }


def run(bench: Bench) -> None:
    paths = ["tests/plugins/test_guidance.py"] if bench.quick else ["tests/plugins", "tests/proofs"]
    processes = 1 if bench.quick else max((os.cpu_count() or 2) - 2, 1)
    bench.measure(
        "the plugins' tests", lambda: tests(bench, paths, "not slow and not gpu", processes)
    )
