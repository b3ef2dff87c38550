"""One stage of ``benchmarks/cuda.py``: imports all it needs, says so, and waits for its turn.

It says what machine it is on in a line of JSON, and begins when it reads for how many seconds it
may.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import sys
import time
import warnings
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[1]
# last, so that no file here hides an installed package
sys.path[:1] = []
sys.path += [str(BENCHMARKS), str(BENCHMARKS.parent / "tests")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage")
    parser.add_argument("--device", required=True)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with contextlib.redirect_stdout(sys.stderr):  # of imports, which may print
        import diffusers
        import torch

        from on_gpu.bench import Bench

        diffusers.utils.logging.set_verbosity_error()
        diffusers.utils.logging.disable_progress_bar()
        module = importlib.import_module(f"on_gpu.{options.stage}")
        machine = facts(options.device)
    print(json.dumps(machine), flush=True)
    limit = sys.stdin.readline()
    if not limit:
        return
    deadline = time.monotonic() + float(limit)
    with contextlib.redirect_stdout(sys.stderr):
        if options.device == "cpu":
            torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
        only = tuple(options.only)
        module.run(Bench(options.device, options.quick, options.rows, deadline, only))


def facts(device: str) -> dict[str, object]:
    """What the figures are measured on."""
    import torch

    from machine import describe

    versions = describe("ldm-core", "diffusers", "transformers", "accelerate", "torch")
    if device == "cpu":
        return {"available": True, "card": "none, on the CPU", "machine": versions}
    if not torch.cuda.is_available():
        return {"available": False, "card": "none", "machine": versions}
    card = torch.cuda.get_device_properties(device)
    return {
        "available": True,
        "card": card.name,
        "card_memory_gib": round(card.total_memory / 2**30, 1),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "tf32_convolutions": torch.backends.cudnn.allow_tf32,
        "tf32_matrices": torch.backends.cuda.matmul.allow_tf32,
        "machine": versions,
    }


if __name__ == "__main__":
    main()
