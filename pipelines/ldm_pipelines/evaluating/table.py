"""The figures of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Figure:
    """What a metric says of pictures.

    Attributes:
        metric: what it is called, with what it was measured by.
        value: may be infinite.
        low, high: the ends of its interval, which holds 95 of 100; None where there is none.
        unit: empty where there is none.
        count: of pictures; of pairs or sets, of references too.
        each: by picture, of a metric that gives one value for each; empty for others.
        notes: what is to be known of it.
    """

    metric: str
    value: float
    low: float | None
    high: float | None
    unit: str
    higher_is_better: bool
    count: int
    references: int
    each: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As a table of plain values; None for what is no finite number."""
        return {
            "metric": self.metric,
            "value": _finite(self.value),
            "low": _finite(self.low),
            "high": _finite(self.high),
            "unit": self.unit,
            "higher_is_better": self.higher_is_better,
            "pictures": self.count,
            "references": self.references,
            "notes": [*self.notes],
        }

    def each_as_json(self) -> dict[str, float | None]:
        """The figure of each picture, by its name."""
        return {name: _finite(value) for name, value in self.each.items()}


@dataclass(frozen=True)
class Table:
    """The figures of several metrics, in their order.

    Attributes:
        pictures, against: where they came from; ``against`` is empty where there was nothing.
        paired: how pictures found their references; empty where they did not.
    """

    figures: tuple[Figure, ...]
    pictures: str
    against: str = ""
    paired: str = ""

    def __getitem__(self, metric: str) -> Figure:
        """The figure of a metric, by its name or by the name before its brackets.

        Raises:
            KeyError: there is none, or several.
        """
        whole = [one for one in self.figures if one.metric == metric]
        short = [one for one in self.figures if one.metric.partition("[")[0] == metric]
        if len(found := whole or short) != 1:
            raise KeyError(metric)
        return found[0]

    def __iter__(self) -> Iterator[Figure]:
        return iter(self.figures)

    def as_json(self) -> dict[str, Any]:
        """As a table of plain values."""
        return {
            "pictures": self.pictures,
            "against": self.against,
            "paired": self.paired,
            "figures": [figure.as_json() for figure in self.figures],
        }

    def columns(self) -> tuple[Sequence[str], list[Sequence[str]]]:
        """Head and rows, to be printed."""
        head = ("metric", "value", "95 % interval", "better", "pictures")
        return head, [
            (
                one.metric,
                f"{number(one.value)} {one.unit}".rstrip(),
                "" if one.low is None else f"{number(one.low)} … {number(one.high)}",
                "higher" if one.higher_is_better else "lower",
                str(one.count)
                if one.references in (0, one.count)
                else f"{one.count} against {one.references}",
            )
            for one in self.figures
        ]


def number(value: float | None) -> str:
    """A figure in five digits."""
    if value is None:
        return ""
    return format(value, ".5g") if math.isfinite(value) else "infinite"


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
