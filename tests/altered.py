"""A JSON file with other values, for as long as it lasts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def altered(file: Path, changes: Mapping[str, Any]) -> Iterator[None]:
    """The file says this beside what it said, until the block ends."""
    kept = file.read_text()
    try:
        file.write_text(json.dumps({**json.loads(kept), **changes}))
        yield
    finally:
        file.write_text(kept)
