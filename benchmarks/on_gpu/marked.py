"""The tests that need a CUDA device, which are marked `gpu`."""

from __future__ import annotations

from on_gpu.bench import Bench
from on_gpu.suite import ROOT, tests


def run(bench: Bench) -> None:
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    marked = [str(f) for f in files if "pytest.mark.gpu" in f.read_text(encoding="utf-8")]
    bench.measure("those that need CUDA", lambda: tests(bench, marked, "gpu", 1))
