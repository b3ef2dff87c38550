"""How much faster two processes make a job than one: ``python benchmarks/job_processes.py``.

A job of `shapes` is made by one process, and by two of the same command that share its folder, on a
thread each, in turns. Each run is measured twice over: by the clock, and by the processor time of
the process that used the most, which other work on the machine hardly changes: where each process
has a core to itself the two are the same.
The ratio of the whole, starts of processes and all, says what a person gains; the two others are
without what the same command needs to make one line, a start that a longer job has once too.
Exits 1 where the median ratio of the whole, by the clock, is below 1.7: run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import describe

LEAST = 1.7
WHOLE = "speed-up of the whole by the clock"
CLOCK = "speed-up without a start by the clock"
PROCESSOR = "speed-up without a start by processor time"


def run(folder: Path, count: int, options: list[str]) -> tuple[float, float]:
    """Seconds by the clock, and of the processor in the process that used the most.

    Raises:
        SystemExit: a process failed.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "ldm_core", "generate", *options, "--out", str(folder)]
    since = time.perf_counter()
    processes = [
        subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(count)
    ]
    most = 0.0
    for process in processes:
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"a process ended with {os.waitstatus_to_exitcode(status)}")
        most = max(most, usage.ru_utime + usage.ru_stime)
    return time.perf_counter() - since, most


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lines", type=int, default=240)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rounds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        lines = [f"a red star, number {i}\n" for i in range(arguments.lines)]
        Path(place, "lines.txt").write_text("".join(lines))
        Path(place, "line.txt").write_text(lines[0])
        options = ["--steps", str(arguments.steps), "--seed", "7", "--batch-size", "4", "--json"]
        several = ["--prompts", str(Path(place, "lines.txt")), *options]
        line = ["--prompts", str(Path(place, "line.txt")), *options]
        for number in range(arguments.rounds):
            one, two = Path(place, f"one-{number}"), Path(place, f"two-{number}")
            load = os.getloadavg()[0]
            single, pair = run(one, 1, several), run(two, 2, several)
            idle = run(Path(place, f"line-{number}"), 1, line)
            clock, processor = (
                (single[i] - idle[i]) / max(pair[i] - idle[i], 1e-9) for i in range(2)
            )
            names = [sorted(path.name for path in folder.glob("*.png")) for folder in (one, two)]
            assert names[0] == names[1]
            assert len(names[0]) == arguments.lines
            rounds.append(
                {
                    "one process": {"seconds": single[0], "processor": single[1]},
                    "two processes": {"seconds": pair[0], "processor of the busier": pair[1]},
                    "one line": {"seconds": idle[0], "processor": idle[1]},
                    WHOLE: single[0] / pair[0],
                    CLOCK: clock,
                    PROCESSOR: processor,
                    "load before": load,
                }
            )
            print(json.dumps(rounds[-1]), file=sys.stderr)
    medians = {
        name: statistics.median(entry[name] for entry in rounds)
        for name in (WHOLE, CLOCK, PROCESSOR)
    }
    report = {
        "machine": describe("ldm-core", "torch"),
        "lines": arguments.lines,
        "steps": arguments.steps,
        "rounds": rounds,
        **medians,
    }
    print(json.dumps(report, indent=2))
    sys.exit(0 if medians[WHOLE] >= LEAST else 1)


if __name__ == "__main__":
    main()
