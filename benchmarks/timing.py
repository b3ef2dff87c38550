"""How long runs take, by the clock and of a processor, in turns with a peer."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Way = Callable[[], Any]


class Spent(NamedTuple):
    """Seconds by the clock, and of a processor: of all threads, and of processes that ended."""

    clock: float
    processor: float


def seconds(run: Way) -> float:
    """By the clock."""
    return spent(run).clock


def spent(run: Way) -> Spent:
    """What one run takes."""
    worked, began = processor_seconds(), time.perf_counter()
    run()
    took = time.perf_counter() - began
    return Spent(took, processor_seconds() - worked)


def processor_seconds() -> float:
    """Of this process so far, and of those that it started and that ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def in_turns(ways: Mapping[str, Way], peer: str, rounds: int) -> dict[str, dict[str, float]]:
    """Each way once in every round: medians of its seconds and of their ratios to the peer's.

    What the first call of each takes, which compiles where the way does, is told apart and is in
    none of these.
    """
    firsts = {name: spent(way) for name, way in ways.items()}
    rows = [{name: spent(way) for name, way in ways.items()} for _ in range(rounds)]
    figures = {}
    for name, first in firsts.items():
        own, peers = [row[name] for row in rows], [row[peer] for row in rows]
        pairs = list(zip(own, peers, strict=True))
        figures[name] = {
            "seconds": statistics.median(one.clock for one in own),
            "processor": statistics.median(one.processor for one in own),
            "ratio": statistics.median(a.clock / b.clock for a, b in pairs),
            "processor_ratio": statistics.median(a.processor / b.processor for a, b in pairs),
            "first_seconds": first.clock,
            "first_processor": first.processor,
        }
    return figures
