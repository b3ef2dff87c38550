"""Whole pictures of `shapes` by our programs of OpenVINO and by optimum's pipeline, in turns.

optimum-intel asks for versions of transformers and huggingface-hub that exclude those of this
project, so its pipeline runs in a process of its own, whose path begins with a folder of packages:

    pip install --target FOLDER --no-deps optimum-intel optimum transformers==5.5.4 \\
        huggingface-hub==1.21.0 diffusers==0.38.0 tokenizers==0.22.2 nncf openvino-tokenizers \\
        pydot networkx ninja natsort tabulate jsonschema
    python benchmarks/optimum_peer.py --packages FOLDER

Both compute in float32 on one thread, 25 steps with guidance, batches of 1 and 8; medians of the
ratios of rounds, of seconds of a processor from prompts to pixels. Each picture has the same seed
on both sides; how far the pictures are apart, relative to theirs, stands beside the time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

from machine import describe
from timing import Spent

PROMPT = "a large red circle on a blue background"
STEPS = {"num_inference_steps": 25, "guidance_scale": 4.0}
EXACT = {
    "INFERENCE_PRECISION_HINT": "f32",
    "EXECUTION_MODE_HINT": "ACCURACY",
    "INFERENCE_NUM_THREADS": 1,
}


def theirs(folder: str) -> None:
    """Draw as many pictures as each line of standard input says, into the file that it names, and
    print the seconds."""
    import numpy as np
    import torch
    from diffusers import __version__
    from optimum.intel.openvino.modeling_diffusion import OVStableDiffusionPipeline

    torch.set_num_threads(1)
    pipe = OVStableDiffusionPipeline.from_pretrained(folder, export=True, ov_config=EXACT)
    pipe.set_progress_bar_config(disable=True)
    print(f"ready diffusers {__version__}", flush=True)
    for line in sys.stdin:
        count, _, file = line.strip().partition(" ")
        each = [torch.Generator().manual_seed(seed) for seed in range(int(count))]
        worked, began = time.process_time(), time.perf_counter()
        images = pipe([PROMPT] * len(each), generator=each, output_type="np", **STEPS).images
        took = Spent(time.perf_counter() - began, time.process_time() - worked)
        np.save(file, images)
        print("took", json.dumps(took), flush=True)


def as_older_transformers_read(folder: Path, home: Path) -> Path:
    """A copy of a model whose text encoder's weights have the names of Transformers 5.5,
    which would draw others at random in the place of those that it does not find."""
    from safetensors.torch import load_file, save_file

    copied = Path(shutil.copytree(folder, home / "model"))
    file = copied / "text_encoder" / "model.safetensors"
    weights = {f"text_model.{name}": weight for name, weight in load_file(file).items()}
    save_file(weights, file, {"format": "pt"})
    return copied


def answer(process: subprocess.Popen[str], word: str) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(word):
            return line.removeprefix(word).strip()
    sys.exit("optimum's pipeline ended; its own words stand above")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=Path, help="folder of optimum-intel and what it needs")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--theirs", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.theirs:
        theirs(options.theirs)
        return
    if options.packages is None:
        sys.exit("optimum's pipeline is no peer here: --packages names no folder of it")
    import numpy as np
    import torch

    from ldm_core import Pipeline

    torch.set_num_threads(1)
    pipe = Pipeline.from_pretrained("shapes", device="cpu", converters=["openvino"])
    home = Path(tempfile.mkdtemp())
    assert pipe.composition.info.folder is not None
    folder = as_older_transformers_read(pipe.composition.info.folder, home)
    path = os.pathsep.join([str(options.packages), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, __file__, "--theirs", str(folder)],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    peer = answer(process, "ready")
    machine = f"{describe('ldm-core', 'openvino')}; optimum's: {peer}"
    report: dict[str, Any] = {"machine": machine, "rounds": options.rounds}
    print(machine)
    drawn = home / "theirs.npy"
    for batch in (1, 8):
        rows = []
        for _ in range(options.rounds + 1):
            seeds = list(range(batch))
            worked, began = time.process_time(), time.perf_counter()
            images = pipe([PROMPT] * batch, seed=seeds, output_type="np", **STEPS).images
            own = Spent(time.perf_counter() - began, time.process_time() - worked)
            assert process.stdin is not None
            process.stdin.write(f"{batch} {drawn}\n")
            process.stdin.flush()
            rows.append((own, Spent(*json.loads(answer(process, "took")))))
        rows = rows[1:]  # programs are compiled in the first
        pictures = np.load(drawn)
        apart = float(np.linalg.norm(np.asarray(images) - pictures) / np.linalg.norm(pictures))
        found = {
            "ldm": {
                "seconds": statistics.median(own.clock for own, _ in rows),
                "processor": statistics.median(own.processor for own, _ in rows),
            },
            "optimum": {
                "seconds": statistics.median(other.clock for _, other in rows),
                "processor": statistics.median(other.processor for _, other in rows),
            },
            "ratio": statistics.median(own.clock / other.clock for own, other in rows),
            "processor_ratio": statistics.median(
                own.processor / other.processor for own, other in rows
            ),
            "apart": apart,
        }
        report[f"batch {batch}"] = found
        print(f"batch {batch}: {json.dumps(found)}", flush=True)
    process.communicate()
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
