"""Peak memory and time of attention, each kernel in a process of its own.

On a CPU the peak is the growth of the process's resident memory, on CUDA the allocator's peak.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from machine import describe

HEADS, WIDTH = 1, 64


def quadratic(q: Any, k: Any, v: Any, mask: Any, scale: float) -> Any:
    """The formula as it is written, with the matrix of all scores."""
    return ((q @ k.transpose(-1, -2)) * scale).softmax(-1) @ v


def measure(name: str, tokens: int) -> dict[str, float]:
    """Peak bytes beyond the inputs, and seconds, for one kernel on one device."""
    import torch

    from ldm_core.plugins.options import with_options
    from ldm_core.plugins.registry import installed

    kernel = (
        quadratic
        if name == "quadratic"
        else with_options(installed().find("attention", name).loaded, {})
    )
    cuda = torch.cuda.is_available()
    device = "cuda" if cuda else "cpu"
    torch.manual_seed(0)
    small = torch.randn(3, 1, HEADS, 64, WIDTH, device=device)
    kernel(*small, None, WIDTH**-0.5)
    q, k, v = torch.randn(3, 1, HEADS, tokens, WIDTH, device=device)
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        Path("/proc/self/clear_refs").write_text("5")
        before = resident("VmRSS")
    began = time.perf_counter()
    kernel(q, k, v, None, WIDTH**-0.5)
    if cuda:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - began
    peak = torch.cuda.max_memory_allocated() if cuda else resident("VmHWM")
    return {"bytes": peak - before, "seconds": seconds}


def resident(field: str) -> int:
    """A figure of the kernel's accounting of this process, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {field} in /proc/self/status; this benchmark needs Linux or CUDA")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=16384)
    parser.add_argument("--kernel", help=argparse.SUPPRESS)
    parser.add_argument("--kernels", nargs="+", default=["quadratic", "native", "chunked"])
    options = parser.parse_args()
    if options.kernel:
        print(json.dumps(measure(options.kernel, options.tokens)))
        return
    print(describe("ldm-core", "torch"))
    print(f"float32, {HEADS} head of width {WIDTH}, {options.tokens} tokens")
    base: dict[str, float] = {}
    for name in options.kernels:
        command = [sys.executable, __file__, "--kernel", name, "--tokens", str(options.tokens)]
        run = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(run.stdout.splitlines()[-1])
        base = base or found
        print(
            f"{name:10} {found['bytes'] / 2**20:8.1f} MiB ({found['bytes'] / base['bytes']:.3f})"
            f"  {found['seconds']:6.2f} s ({found['seconds'] / base['seconds']:.2f})"
        )


if __name__ == "__main__":
    main()
