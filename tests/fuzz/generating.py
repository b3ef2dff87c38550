"""Cases drawn from strategies, the same from the same seed."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

from fuzz.case import Case

CHUNK = 500
"""Cases drawn at once."""


def draw(strategy: SearchStrategy[Case], count: int, start: int) -> list[Case]:
    """So many cases, or fewer where the strategy has no more.

    Args:
        start: the seed.
    """
    drawn: list[Case] = []

    @seed(start)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def take(case: Case) -> None:
        drawn.append(case)

    take()
    return drawn[:count]


def stream(strategy: SearchStrategy[Case], count: int, start: int) -> Iterator[list[Case]]:
    """The same in chunks, each with a seed of its own."""
    done = 0
    for number in range(10 * (count // CHUNK + 1)):
        if done >= count:
            return
        cases = draw(strategy, min(CHUNK, count - done), start * 100_003 + number)
        done += len(cases)
        yield cases
