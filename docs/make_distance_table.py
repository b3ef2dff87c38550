"""Write reference/distances.md: how far each kind of folder is from Diffusers' own pipeline.

The figures are those of the tests that hold each kind to Diffusers, which this runs: the largest
relative distance, of final latents and of what is decoded, that any of a cell's tests measures.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))

from distances import INPUTS, KINDS, cells  # noqa: E402
from without_distance import NONE  # noqa: E402

PAGE = ROOT / "docs" / "reference" / "distances.md"
SAID = re.compile(r"^apart by (\S+)$", re.MULTILINE)
HEAD = """# How far from Diffusers

Each kind of model folder that the families know, on a small model of the real classes with random
weights, nothing chosen, in float32: the largest relative distance ‖ours − theirs‖ / ‖theirs‖ to
Diffusers' own pipeline of the same folder, from the same noise, in the final latents and in what is
decoded of them. *Text* is what a model draws of its prompt, its class or of nothing; the others are
the pictures, videos and sounds that it starts from, is shown, or makes a part of anew. A number in
brackets says why there is no figure.

The tests of each family assert these distances at every change; `docs/make_distance_table.py` runs
them and writes this page. Where the two are meant to differ, both were brought to the same, as the
test and [Diffusers' schedulers](../explanation/diffusers.md) say; the most frequent case is the
mean of a posterior in place of a draw from it. Measured on 2026-11-29, AMD EPYC, 2 cores.
"""


def belongs(node: str, named: str) -> bool:
    """Whether a test, with its parameters, is one that a cell names."""
    return node == named or node.startswith(named if "[" in named else f"{named}[")


class Heard:
    """What each test says of distances: a plugin of pytest."""

    def __init__(self) -> None:
        self.of: dict[str, list[float]] = {}
        self.failed: list[str] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        name = report.nodeid.rpartition("/")[2]
        if report.failed:
            self.failed.append(name)
        if report.when == "call":
            self.of[name] = [float(number) for number in SAID.findall(report.capstdout)]


def measured(found: Mapping[str, list[float]], named: tuple[str, ...]) -> float:
    """The largest distance that the named tests measured.

    Raises:
        ValueError: one of them measured none.
    """
    distances = []
    for name in named:
        own = [n for node, numbers in found.items() if belongs(node, name) for n in numbers]
        if not own:
            raise ValueError(f"{name} says no distance")
        distances += own
    return max(distances)


def make_page(found: Mapping[str, list[float]]) -> str:
    reasons: list[str] = []

    def shown(cell: tuple[str, ...] | str) -> str:
        if not isinstance(cell, str):
            return f"{measured(found, cell):.0e}"
        if cell == NONE:
            return "–"
        if cell not in reasons:
            reasons.append(cell)
        return f"({reasons.index(cell) + 1})"

    lines = [HEAD, f"| kind of folder | {' | '.join(INPUTS)} |", "| --- |" + " --- |" * len(INPUTS)]
    for kind, row in KINDS.items():
        own = " | ".join(shown(row.get(asked, NONE)) for asked in INPUTS)
        lines.append(f"| {kind} | {own} |")
    lines += ["", f"–: {NONE}", ""]
    lines += [f"{i}. {reason[0].upper()}{reason[1:]}" for i, reason in enumerate(reasons, 1)]
    return "\n".join(lines) + "\n"


def main() -> None:
    import pytest

    named = {name for _, _, cell in cells() if not isinstance(cell, str) for name in cell}
    files = sorted({name.partition("::")[0] for name in named})
    heard, here = Heard(), ROOT / "tests" / "plugins"

    class Named:
        @staticmethod
        def pytest_collection_modifyitems(items: list[Any]) -> None:
            items[:] = [
                item
                for item in items
                if any(belongs(item.nodeid.rpartition("/")[2], name) for name in named)
            ]

    options = ["-q", "-o", "addopts=", "-p", "no:cacheprovider", "--rootdir", str(ROOT)]
    pytest.main([*options, *(str(here / file) for file in files)], plugins=[heard, Named()])
    if heard.failed:
        sys.exit(f"these failed: {', '.join(heard.failed)}")
    for name, numbers in heard.of.items():
        print(f"{max(numbers, default=float('nan')):.1e} {name}", file=sys.stderr)
    PAGE.write_text(make_page(heard.of), encoding="utf-8")


if __name__ == "__main__":
    main()
