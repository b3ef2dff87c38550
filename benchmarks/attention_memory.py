"""Peak memory and time of attention, each kernel in a process of its own.

A kernel is named as in a recipe, an option behind a colon: ``native:backend=math``. Time is the
least of three calls after a first one, in which a kernel may be compiled; on one thread, and beside
it that of the processor, which other programs do not disturb. On a CPU the peak is the growth of
the process's resident memory, on CUDA the allocator's peak.
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

WIDTH = 64
KERNELS = (
    "quadratic", "native", "native:backend=flash", "native:backend=math", "chunked", "sliced",
    "flex",
)  # fmt: skip


def quadratic(q: Any, k: Any, v: Any, mask: Any, scale: float) -> Any:
    """The formula as it is written, with the matrix of all scores."""
    return ((q @ k.transpose(-1, -2)) * scale).softmax(-1) @ v


def measure(name: str, tokens: int, heads: int) -> dict[str, float]:
    """Peak bytes beyond the inputs, and seconds, for one kernel on one device."""
    import torch

    from ldm_core.plugins.options import with_options
    from ldm_core.plugins.registry import installed

    plugin, _, option = name.partition(":")
    key, _, value = option.partition("=")
    options = {key: value} if key else {}
    kernel = (
        quadratic
        if name == "quadratic"
        else with_options(installed().find("attention", plugin).loaded, options)
    )
    torch.set_num_threads(1)
    cuda = torch.cuda.is_available()
    device = "cuda" if cuda else "cpu"
    torch.manual_seed(0)
    small = torch.randn(3, 1, heads, 64, WIDTH, device=device)
    kernel(*small, None, WIDTH**-0.5)
    q, k, v = torch.randn(3, 1, heads, tokens, WIDTH, device=device)
    if name == "flex":
        kernel(q, k, v, None, WIDTH**-0.5)  # compiled for this shape
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        Path("/proc/self/clear_refs").write_text("5")
        before = resident("VmRSS")
    taken = []
    for _ in range(3):
        began, worked = time.perf_counter(), time.process_time()
        kernel(q, k, v, None, WIDTH**-0.5)
        if cuda:
            torch.cuda.synchronize()
        taken.append((time.perf_counter() - began, time.process_time() - worked))
    peak = torch.cuda.max_memory_allocated() if cuda else resident("VmHWM")
    clock, processor = (min(times) for times in zip(*taken, strict=True))
    return {"bytes": peak - before, "seconds": clock, "cpu_seconds": processor}


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
    parser.add_argument("--heads", type=int, default=1)
    parser.add_argument("--kernels", nargs="+", default=KERNELS)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    if options.kernel:
        print(json.dumps(measure(options.kernel, options.tokens, options.heads)))
        return
    machine = describe("ldm-core", "torch")
    print(machine)
    report: dict[str, Any] = {"machine": machine, "tokens": options.tokens, "kernels": {}}
    print(f"float32, {options.heads} heads of width {WIDTH}, {options.tokens} tokens")
    base: dict[str, float] = {}
    for name in options.kernels:
        sizes = ["--tokens", str(options.tokens), "--heads", str(options.heads)]
        command = [sys.executable, __file__, "--kernel", name, *sizes]
        run = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(run.stdout.splitlines()[-1])
        base = base or found
        report["kernels"][name] = found
        print(
            f"{name:20} {found['bytes'] / 2**20:8.1f} MiB ({found['bytes'] / base['bytes']:.3f})"
            f"  {found['seconds']:6.2f} s ({found['seconds'] / base['seconds']:.2f})"
            f"  processor {found['cpu_seconds']:6.2f} s"
            f" ({found['cpu_seconds'] / base['cpu_seconds']:.2f})",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
