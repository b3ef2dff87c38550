"""The figures of a run of ``benchmarks/cuda.py`` as rows of Markdown, so that none is typed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def table(report: Mapping[str, Any]) -> Iterator[str]:
    """A line that says what was measured on, and a row for each measurement.

    The many rows of ``choices`` become one: how far the furthest is from a CPU.
    """
    if "not_measured" in report:
        yield f"Not measured: {report['not_measured']}."
        return
    sizes = "tiny sizes, " if report["quick"] else ""
    yield f"{report.get('card', 'unknown card')}; {sizes}{report.get('machine', '')}."
    yield ""
    yield "| stage | what | figures |"
    yield "| --- | --- | --- |"
    for name, stage in report["stages"].items():
        rows = summary(stage["rows"]) if name == "choices" else stage["rows"]
        for row in rows:
            yield f"| {name} | {row['name']} | {figures(row)} |"
        if stage["end"] != "done":
            yield f"| {name} | | not whole: {stage['end']} |"


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How many choices were tried, the furthest from a CPU, and those that failed."""
    measured = [row for row in rows if "cpu" in row]
    whole: dict[str, Any] = {"name": "choices", "compared": len(measured)}
    if measured:
        furthest = max(measured, key=lambda row: max(row["cpu"], row.get("pictures", 0.0)))
        whole["furthest from a CPU"] = max(furthest["cpu"], furthest.get("pictures", 0.0))
        whole["which is"] = furthest["name"]
    whole["refused"] = sum("refused" in row for row in rows)
    failed = [r for r in rows if isinstance(r.get("error"), str) or "not_measured" in r]
    return [whole, *failed]


def figures(row: Mapping[str, Any]) -> str:
    """All that was measured; or why nothing was."""
    for reason in ("error", "refused", "not_measured"):
        if isinstance(row.get(reason), str):
            return f"{reason.replace('_', ' ')}: {row[reason]}".replace("|", "\\|")
    shown = [
        f"{key.replace('_', ' ')} {number(value)}"
        for key, value in row.items()
        if key not in ("name", "seconds", "last") and value != []
    ]
    return "; ".join(shown).replace("|", "\\|")


def number(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)
