"""The page of distances to Diffusers has every kind of folder, and tests for each figure."""

from __future__ import annotations

import re
from pathlib import Path

from distances import INPUTS, KINDS, NONE, cells

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "distances.md"
ACROSS = ROOT / "docs" / "reference" / "families-and-schedulers.md"
FIGURE = re.compile(r"\de-\d\d")


def test_every_kind_and_input_has_a_figure_or_a_reason() -> None:
    heads = [line for line in ACROSS.read_text(encoding="utf-8").splitlines() if line[:3] == "| |"]
    every = {cell.strip() for head in heads for cell in head.split("|")[2:-1]}
    assert {*KINDS} == every
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    reasons = dict(line.split(". ", 1) for line in lines if re.match(r"\d+\. ", line))
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in lines if line[:1] == "|"]
    found = {first: dict(zip(INPUTS, rest, strict=True)) for first, *rest in rows[2:]}
    for kind, asked, cell in cells():
        shown = found[kind][asked]
        if cell == NONE:
            assert shown == "–"
        elif isinstance(cell, str):
            assert reasons[shown.strip("()")].lower() == cell.lower()
        else:
            assert FIGURE.fullmatch(shown)
            assert float(shown) < 1e-4
    assert {*found} == every


def test_the_tests_of_each_figure_are_there() -> None:
    for _, _, cell in cells():
        for name in () if isinstance(cell, str) else cell:
            file, _, test = name.partition("::")
            text = (ROOT / "tests" / "plugins" / file).read_text(encoding="utf-8")
            assert re.search(rf"^def {test.partition('[')[0]}\b", text, re.MULTILINE), name
