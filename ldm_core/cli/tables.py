"""Tables on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ldm_core.errors import printable


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table; piped into another program, plain columns with tabs between."""
    rows = [[printable(" ".join(cell.split())) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        print("\n".join("\t".join(row) for row in (head, *rows)))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for i, name in enumerate(head):
        table.add_column(name, no_wrap=i < 2)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
