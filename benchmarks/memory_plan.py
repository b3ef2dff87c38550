"""The peak that a memory plan expects, and the one that is measured, on a processor.

Twenty combinations of a model of random weights, a size, a batch and a budget; the plan chooses the
placement. Each is measured in processes of their own, from Linux' /proc: the most anonymous memory
while weights are read and one batch is drawn in one step, beyond what the process held once it had
drawn a picture with `shapes` and given back what was free; and the resident pages of the weight
files of those parts that the plan leaves whole. Whether the C library finds a free block for the
next of its size is a matter of luck, of which each process has its own: the median of the processes
is compared, and the least and the most are printed. Exits 1 where it differs from what is expected
by more than 15%.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from machine import describe
from memory_folders import FOLDERS, write

AIM, MIB, RUNS = 0.15, 2**20, 3
CASES: list[tuple[str, int, int, str]] = [
    ("unet-90", 256, 1, "8GiB"),
    ("unet-90", 384, 1, "450MiB"),
    ("unet-90", 256, 4, "800MiB"),
    ("dit-130", 256, 1, "8GiB"),
    ("dit-130", 256, 2, "500MiB"),
    ("pixart-230", 256, 1, "8GiB"),
    ("pixart-230", 256, 1, "700MiB"),
    ("unet-380", 256, 1, "8GiB"),
    ("unet-380", 256, 2, "1GiB"),
    ("flux-330", 256, 1, "8GiB"),
    ("flux-330", 256, 1, "1GiB"),
    ("unet-90", 384, 2, "8GiB"),
    ("unet-90", 512, 1, "600MiB"),
    ("sdxl-370", 320, 1, "8GiB"),
    ("sdxl-370", 256, 2, "600MiB"),
    ("sd3-400", 384, 1, "8GiB"),
    ("sd3-400", 256, 3, "700MiB"),
    ("dit-550", 256, 3, "8GiB"),
    ("dit-550", 512, 1, "1GiB"),
    ("unet-60", 448, 1, "8GiB"),
]
"""A folder, the picture's sides, how many at once, and the budget. The factor of the heap
was not fitted by the last seven."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", help="where the models are, or are written")
    parser.add_argument("--runs", type=int, default=RUNS, help="processes for each combination")
    parser.add_argument("--models", nargs="+", choices=[*FOLDERS], help="these alone")
    parser.add_argument("--case", help="what one of the processes is to do")
    chosen = parser.parse_args()
    if chosen.case:
        measure(chosen.folder, *json.loads(chosen.case))
        return
    print(describe("ldm-core", "torch", "diffusers"))
    wrong = 0
    with tempfile.TemporaryDirectory() as place:
        root = Path(chosen.folder or place)
        cases = [case for case in CASES if case[0] in (chosen.models or FOLDERS)]
        for name in {case[0]: None for case in cases}:
            if not (root / name).is_dir():
                write(name, root / name)
        heads = "model | picture | at once | budget | placement | expected | measured | ratio"
        print(f"| {heads} | least and most |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
        for name, side, images, budget in cases:
            lines = [line(root / name, [side, images, budget]) for _ in range(chosen.runs)]
            measured = [one["measured"] / MIB for one in lines]
            expected, middle = lines[0]["expected"] / MIB, statistics.median(measured)
            ratio = expected / middle
            wrong += abs(ratio - 1) > AIM
            print(
                f"| {name} | {side}x{side} | {images} | {budget} | {lines[0]['placement']} | "
                f"{expected:.0f} MiB | {middle:.0f} MiB | {ratio:.2f} | "
                f"{min(measured):.0f}, {max(measured):.0f} |",
                flush=True,
            )
    sys.exit(f"{wrong} differ by more than {AIM:.0%}" if wrong else 0)


def line(folder: Path, case: list[Any]) -> Any:
    """What a process of its own finds of a combination."""
    run = [sys.executable, __file__, str(folder), "--case", json.dumps(case)]
    done = subprocess.run(run, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


class Watch(threading.Thread):
    """Looks every few milliseconds how much anonymous memory the process has.

    Attributes:
        most: bytes.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.002):
            self.most = max(self.most, anonymous())


def measure(folder: str, side: int, images: int, budget: str) -> None:
    """Draw a batch, and print what was expected and measured."""
    import gc

    import torch

    from ldm_core.run.memory.release import give_back
    from ldm_core.run.pipeline import Pipeline

    torch.set_num_threads(1)
    Pipeline.from_pretrained("shapes")("a circle", seed=0, num_inference_steps=2)
    gc.collect()
    choices: dict[str, Any] = {"width": side, "height": side, "memory": budget, "device": "cpu"}
    from ldm_core.composition.compose import compose
    from ldm_core.plugins.registry import installed

    composition = compose({"model": folder, "num_inference_steps": 1, **choices}, installed())
    pipe = Pipeline.from_composition(composition)
    asked = {"prompt": "a picture"} if "prompt" in composition.inputs else {"class_label": 1}
    plan = composition.plan(asked, list(range(images)))
    assert pipe.fitting is not None
    pipe.fitting.see(composition, plan)
    assert pipe.fitting.plan is not None
    chosen = pipe.fitting.plan.chosen
    gc.collect()
    give_back()
    before, watch = anonymous(), Watch()
    watch.start()
    output = pipe.output(pipe.sample(plan), plan.request)
    watch.over.set()
    watch.join()
    assert len(output.images) == images
    stay = [part for part, placement in chosen.placements.items() if placement == "whole"]
    held = sum(resident(Path(folder) / part) for part in stay)
    print(
        json.dumps(
            {
                "placement": chosen.words,
                "expected": chosen.peak,
                "measured": watch.most - before + held,
            }
        )
    )


def anonymous() -> int:
    """Bytes of this process's memory that are no file's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no RssAnon")


def resident(folder: Path) -> int:
    """Bytes of a folder's files that are mapped and in memory."""
    total, mine = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        head = line.split(maxsplit=5)
        if "-" in head[0] and not head[0].endswith(":"):
            mine = len(head) == 6 and head[5].startswith(f"{folder}/")
        elif mine and head[0] == "Rss:":
            total += int(head[1]) * 1024
    return total


if __name__ == "__main__":
    main()
