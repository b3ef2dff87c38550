"""Tables in the documentation whose figures a test measures again."""

from __future__ import annotations

from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def table_rows(page: Path, columns: int) -> dict[str, list[str]]:
    """The rows of a page's tables with so many columns, by their first cell."""
    found = {}
    for line in page.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and len(cells) == columns:
            found[cells[0]] = cells[1:]
    return found
