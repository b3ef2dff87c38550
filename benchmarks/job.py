"""A job of 10,000 lines in one process: resident memory, and the time to its first picture.

The model is `shapes` in 1 step. What a job keeps of each line or picture shows as growth, read
from Linux' /proc while it runs. The time from the start of the command to the first picture in the
folder is measured beside that of ``ldm generate`` of one prompt, in turns, and the ratio is the
median of the rounds. Exits 1 where more than 64 MiB are added after the first 200 pictures, or the
ratio is above 1.1.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import describe

LINES, FIRST, AIM, MOST, ROUNDS = 10_000, 200, 64, 1.1, 7
LDM = str(Path(sys.executable).parent / "ldm")
SIZES, COLOURS = ("large", "small"), ("red", "green", "blue", "yellow")
SHAPES = ("circle", "square", "triangle")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=LINES)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="0: memory alone")
    chosen = parser.parse_args()
    print(describe("ldm-core", "torch"))
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "prompts.txt"
        prompts = [prompt(i) for i in range(chosen.lines)]
        file.write_text("".join(f"{one}\n" for one in prompts))
        ratio = first_ratio(chosen.rounds, file, prompts[0], Path(place))
        growth = resident(file, Path(place) / "all", chosen.lines)
    sys.exit(1 if growth > AIM or ratio > MOST else 0)


def prompt(number: int) -> str:
    """The words of a line; each line has its own seed, so that lines may say the same."""
    size, rest = SIZES[number % 2], number // 2
    colour, shape = COLOURS[rest % 4], SHAPES[rest // 4 % 3]
    ground = COLOURS[(rest % 4 + 1 + rest // 12 % 3) % 4]
    return f"a {size} {colour} {shape} on a {ground} background"


def command(words: list[str], out: Path) -> list[str]:
    model = ["--model", "shapes", "--steps", "1", "--seed", "0", "--out", str(out)]
    return [LDM, "generate", *words, *model]


def first_ratio(rounds: int, file: Path, prompt: str, place: Path) -> float:
    """The time to a job's first picture over that of one prompt, in turns; 0 of no rounds."""
    walls, processors = [], []
    for number in range(rounds):
        times: dict[int, tuple[float, float]] = {}
        for which in (0, 1) if number % 2 else (1, 0):
            words = ["--prompts", str(file)] if which == 0 else [prompt]
            times[which] = to_first(words, place / f"first{number}{which}")
        for ratios, at in ((walls, 0), (processors, 1)):
            ratios.append(times[0][at] / times[1][at])
        told = ", ".join(
            f"{name} {times[which][0]:.2f} s, of a processor {times[which][1]:.2f} s"
            for which, name in enumerate(("job", "one prompt"))
        )
        print(f"to the first picture: {told}", flush=True)
    if not rounds:
        return 0.0
    ratio = statistics.median(walls)
    print(f"ratio, median of {rounds}: {ratio:.3f}, aim at most {MOST}; ", end="")
    print(f"of processor time: {statistics.median(processors):.3f}", flush=True)
    return ratio


def to_first(words: list[str], out: Path) -> tuple[float, float]:
    """Seconds from the start of a command until a picture is in its folder, and how many of them
    a processor computed for it.

    Raises:
        RuntimeError: it ends before.
    """
    began = time.perf_counter()
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(command(words, out), stdout=subprocess.DEVNULL, stderr=errors) as process,
    ):
        while pictures(out) == 0:
            if process.poll() is not None and pictures(out) == 0:
                errors.seek(0)
                raise RuntimeError(f"no picture was made:\n{errors.read()[-2000:]}")
            time.sleep(0.002)
        seconds = time.perf_counter() - began
        ticks = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        process.send_signal(signal.SIGKILL)
    return seconds, sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def resident(file: Path, out: Path, lines: int) -> float:
    """MiB that are added after the first pictures; some of what is held on the way is printed.

    Raises:
        RuntimeError: the command fails, or makes another number of pictures.
    """
    sizes: list[tuple[int, float]] = []
    began = time.perf_counter()
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command(["--prompts", str(file)], out), stdout=subprocess.DEVNULL, stderr=errors
        ) as process,
    ):
        while process.poll() is None:
            held, made = mebibytes(process.pid), pictures(out)
            if held is not None:
                sizes.append((made, held))
            time.sleep(0.25)
        if process.returncode or pictures(out) != lines:
            errors.seek(0)
            raise RuntimeError(f"{pictures(out)} pictures were made:\n{errors.read()[-2000:]}")
    seconds = time.perf_counter() - began
    first = next(held for made, held in sizes if made >= FIRST)
    for count in (FIRST, lines // 4, lines // 2, lines):
        held = [held for made, held in sizes if made <= count][-1]
        print(f"after {count:6} pictures  {held:7.1f} MiB")
    growth = max(held for made, held in sizes if made >= FIRST) - first
    print(f"added after the first {FIRST}, at most: {growth:.1f} MiB, aim at most {AIM}")
    print(f"{lines} lines in {seconds:.0f} s: {lines / seconds:.1f} a second")
    return growth


def pictures(folder: Path) -> int:
    """How many are in a folder."""
    try:
        return sum(name.endswith(".png") for name in os.listdir(folder))
    except FileNotFoundError:
        return 0


def mebibytes(pid: int) -> float | None:
    """What a process holds; None where it is about to end and holds nothing any more."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return None


if __name__ == "__main__":
    main()
