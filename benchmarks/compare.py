"""`ldm compare` of 4 samplers, 4 numbers of steps and 2 scales on `shapes`: what it takes beside 32
calls of a pipeline that is loaded and warm, and how often weights are read.

Both are in this process, in turns: the command, from its arguments to sheet, table and page, and
bare calls with the same seed, each on a pipeline that is made by `replace`. The time of reading
weights is measured apart and taken off the command's. The pictures of both are seen to be the same.
Exits 1 where the ratio of processor time, the median of the rounds, is above 1.15, or weights are
not read once; by the clock it is printed too, which other programs on the machine make worse.
"""

from __future__ import annotations

import argparse
import io
import itertools
import statistics
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from PIL import Image

from ldm_core import Pipeline
from ldm_core.cli.main import main as ldm
from ldm_core.contracts import Model
from ldm_core.run import pipeline
from machine import describe

MOST, ROUNDS = 1.15, 5
PROMPT = "a large red circle on a blue background"
SCHEDULERS, STEPS, SCALES = ("euler", "dpmpp_2m", "unipc", "ddim"), (4, 8, 16, 25), (2, 4)
AXES = {"scheduler": SCHEDULERS, "steps": STEPS, "guidance.scale": SCALES}
CELLS = list(itertools.product(SCHEDULERS, STEPS, SCALES))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    print(describe("ldm-core", "torch"))
    pipe = Pipeline.from_pretrained("shapes")
    calls(pipe, CELLS[:2])
    with tempfile.TemporaryDirectory() as place:  # what it imports is the start of the program
        command(Path(place))
    reads: list[tuple[float, float]] = []
    count_reads(reads)
    walls, processors, counts = [], [], []
    for number in range(rounds):
        took: dict[str, tuple[float, float]] = {}
        for which in ("calls", "command") if number % 2 else ("command", "calls"):
            with tempfile.TemporaryDirectory() as place:
                reads.clear()
                since, before = time.perf_counter(), time.process_time()
                if which == "calls":
                    images = calls(pipe, CELLS)
                else:
                    command(Path(place))
                wall, processor = time.perf_counter() - since, time.process_time() - before
                took[which] = (
                    wall - sum(one for one, _ in reads),
                    processor - sum(one for _, one in reads),
                )
                if which == "command":
                    counts.append(len(reads))
                    made = [Image.open(path).copy() for path in sorted(Path(place).glob("k/*.png"))]
        same = sum(a.tobytes() == b.tobytes() for a, b in zip(made, images, strict=True))
        for ratios, at in ((walls, 0), (processors, 1)):
            ratios.append(took["command"][at] / took["calls"][at])
        told = ", ".join(
            f"{name} {wall:.2f} s, of a processor {processor:.2f}"
            for name, (wall, processor) in took.items()
        )
        print(f"{told}; weights read {counts[-1]} times, {same} of {len(made)} pictures the same",
              flush=True)  # fmt: skip
    ratio = statistics.median(processors)
    print(f"ratio, median of {rounds}: {statistics.median(walls):.3f} by the clock; ", end="")
    print(f"of processor time {ratio:.3f}, aim at most {MOST}")
    sys.exit(1 if ratio > MOST or {*counts} != {1} else 0)


def calls(pipe: Pipeline, cells: list[tuple[str, int, int]]) -> list[Image.Image]:
    """A picture of each cell, by a call of its own."""
    images: list[Image.Image] = []
    for scheduler, steps, scale in cells:
        other = pipe.replace(scheduler=scheduler, guidance={"scale": scale})
        images += other(PROMPT, seed=0, num_inference_steps=steps).images
    return images


def command(place: Path) -> None:
    """The command, without what it prints."""
    over = [f"--over={name}={','.join(map(str, values))}" for name, values in AXES.items()]
    files = [f"--{kind}={place / name}" for kind, name in FILES.items()]
    sys.argv = ["ldm", "compare", PROMPT, *over, *files, f"--out={place / 'k'}"]
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        try:
            ldm()
        except SystemExit as end:
            if end.code:
                raise RuntimeError(f"the command ended with {end.code}") from None


FILES = {"sheet": "s.png", "table": "t.csv", "page": "p.html"}


def count_reads(reads: list[tuple[float, float]]) -> None:
    """Note what each reading of a model's weights takes from now on, by the clock and of a
    processor."""
    load = pipeline.load_model

    def noted(*arguments: Any) -> Model:
        since, before = time.perf_counter(), time.process_time()
        model = load(*arguments)
        reads.append((time.perf_counter() - since, time.process_time() - before))
        return model

    pipeline.load_model = noted


if __name__ == "__main__":
    main()
