"""Resident memory of ``ldm generate`` while it makes 2,000 pictures of `shapes` in 2 steps each.

What a run keeps of each picture that it has written shows as growth. Read from Linux' /proc while
the command prints its paths. Exits 1 where more than 64 MiB are added after the first 100 pictures.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from machine import describe

PICTURES, FIRST, AIM = 2000, 100, 64
PROMPT = "a large red circle on a blue background"


def main() -> None:
    with tempfile.TemporaryDirectory() as out:
        sizes = resident(out)
        written = len(list(Path(out).glob("*.png")))
    growth = sizes[-1] - sizes[FIRST - 1]
    print(describe("ldm-core", "torch"))
    for count in (FIRST, PICTURES // 4, PICTURES // 2, PICTURES):
        print(f"after {count:5} pictures  {sizes[count - 1]:7.1f} MiB")
    print(f"added after the first {FIRST}: {growth:.1f} MiB, aim at most {AIM}")
    if written != PICTURES:
        sys.exit(f"{written} pictures were written, not {PICTURES}")
    sys.exit(1 if growth > AIM else 0)


def resident(out: str) -> list[float]:
    """MiB after each picture.

    Raises:
        RuntimeError: the command fails, or prints another number of paths.
    """
    command = [str(Path(sys.executable).parent / "ldm"), "generate", PROMPT, "--model", "shapes"]
    command += ["--num-images", str(PICTURES), "--steps", "2", "--seed", "0", "--out", out]
    sizes: list[float] = []
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdout is not None
        for _ in process.stdout:
            sizes.append(mebibytes(process.pid, sizes))
        if process.wait() or len(sizes) != PICTURES:
            errors.seek(0)
            raise RuntimeError(f"{len(sizes)} paths were printed:\n{errors.read()[-2000:]}")
    return sizes


def mebibytes(pid: int, before: list[float]) -> float:
    """What a process holds; as before where it is about to end and holds nothing any more."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return before[-1]


if __name__ == "__main__":
    main()
