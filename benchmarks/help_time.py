"""Seconds for ``ldm --help``, against ``diffusers-cli --help``, run in turn."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from machine import describe

RUNS = 7


def seconds(command: str) -> float:
    began = time.perf_counter()
    path = Path(sys.executable).parent / command
    subprocess.run([path, "--help"], check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    commands = ("ldm", "diffusers-cli")
    for command in commands:
        seconds(command)
    pairs = [[seconds(command) for command in commands] for _ in range(RUNS)]
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(describe("ldm-core", "diffusers", "typer"))
    print(f"ldm --help            {ours:.2f} s (median of {RUNS})")
    print(f"diffusers-cli --help  {theirs:.2f} s")
    print(f"ratio, pair by pair   {ratio:.3f} (1/{1 / ratio:.1f})")


if __name__ == "__main__":
    main()
