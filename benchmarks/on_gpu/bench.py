"""What a stage measures with: a device, a deadline, and rows that are on disk as they are made."""

from __future__ import annotations

import json
import statistics
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Figures = Mapping[str, Any]


@dataclass
class Bench:
    """
    Attributes:
        quick: tiny sizes, to see that the stage works.
        rows: the file that each measurement is appended to, a line of JSON.
        deadline: on `time.monotonic`; no measurement begins after it.
        only: patterns, as a shell's, of the names of the rows that are wanted; all where empty.
    """

    device: str
    quick: bool
    rows: Path
    deadline: float
    only: tuple[str, ...] = ()

    @property
    def cuda(self) -> bool:
        return self.device.startswith("cuda")

    def wants(self, name: str) -> bool:
        return not self.only or any(fnmatchcase(name, pattern) for pattern in self.only)

    def row(self, name: str, **figures: Any) -> None:
        if not self.wants(name):
            return
        with self.rows.open("a") as file:
            file.write(json.dumps({"name": name, **figures}) + "\n")

    def measure(self, name: str, function: Callable[[], Figures]) -> None:
        """A row of what the function measures, of why it failed, or that the time was up."""
        if not self.wants(name):
            return
        if time.monotonic() > self.deadline:
            self.row(name, not_measured="the stage's time was up")
            return
        began = time.monotonic()
        try:
            figures = dict(function())
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            reason = " ".join(str(error).split())[:400]
            where = f"{Path(place.filename).name}:{place.lineno}"
            figures = {"error": f"{type(error).__name__}: {reason} ({where})"}
        self.row(name, **figures, seconds=round(time.monotonic() - began, 3))

    def wait(self) -> None:
        """Until the device has done all that it was asked."""
        if self.cuda:
            torch.cuda.synchronize()

    def seconds(self, run: Callable[[], Any]) -> float:
        """How long a run takes, what the device does for it included."""
        self.wait()
        began = time.perf_counter()
        run()
        self.wait()
        return time.perf_counter() - began

    def in_turn(
        self, runs: Mapping[str, Callable[[], Any]], rounds: int, *, warm: bool = False
    ) -> dict[str, list[float]]:
        """Seconds of each run, one after the other in each round, after one that is not counted.

        Args:
            warm: each has run already.
        """
        for run in () if warm else runs.values():
            run()
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(rounds):
            for name, run in runs.items():
                times[name].append(self.seconds(run))
        return times

    def peak(self, run: Callable[[], Any]) -> tuple[Any, float | None]:
        """What the run gives, and the most MiB that it holds on the device beyond what was there;
        None on a CPU."""
        if not self.cuda:
            return run(), None
        self.wait()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        result = run()
        self.wait()
        return result, (torch.cuda.max_memory_allocated() - before) / 2**20


def median(times: list[float]) -> float:
    return statistics.median(times)


def ratio(times: list[float], peer: list[float]) -> float:
    """Median of the ratios of each round."""
    return statistics.median(a / b for a, b in zip(times, peer, strict=True))


def apart(one: Any, truth: Any) -> float:
    """Distance of two tensors or arrays of one shape, relative to the second."""
    one, truth = (torch.as_tensor(value).detach().double().cpu() for value in (one, truth))
    if one.shape != truth.shape:
        raise ValueError(f"shapes differ: {tuple(one.shape)} and {tuple(truth.shape)}")
    return float((one - truth).norm() / truth.norm())


def generators(seeds: range) -> list[torch.Generator]:
    """On the CPU, as our noise is drawn."""
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def noise(seeds: range, shape: Sequence[int], device: str, dtype: torch.dtype) -> Tensor:
    """What these draw, in float32 and then rounded: torch 2.11 draws other noise in half precision,
    and so does Diffusers where it is given none."""
    draws = [torch.randn((1, *shape), generator=g) for g in generators(seeds)]
    return torch.cat(draws).to(device, dtype)


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Whether float32 convolutions and products of matrices may be rounded to TF32."""
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = allowed
    try:
        yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.allow_tf32 = value


def finite(tensor: Tensor) -> bool:
    return bool(tensor.isfinite().all())
