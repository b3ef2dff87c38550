"""One case: what lies in a folder, and what is asked there. Written as one line of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

MODELS = "@models@"
"""Stands, in every text of a case, for the folder of the tiny models."""
HERE = "@here@"
"""Stands for the folder that the case runs in."""


@dataclass(frozen=True)
class Case:
    """
    Attributes:
        kind: which fuzzer it is of.
        steps: what is made in the folder first; see `fuzz.building`.
        argv: of ``ldm``; or
        call: a call of the Python API; see `fuzz.calls`.
        codes: the exit codes that are right.
        writes: names in its folder that it may write or change beside those its options name.
        seconds: in which it ends.
        note: what it is about, where a person wrote it.
    """

    kind: str
    steps: list[list[Any]] = field(default_factory=list)
    argv: list[str] = field(default_factory=list)
    call: dict[str, Any] | None = None
    codes: tuple[int, ...] = (0, 2)
    writes: tuple[str, ...] = ()
    seconds: float = 20
    note: str = ""

    def line(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, line: str) -> Case:
        table = json.loads(line)
        for name in ("codes", "writes"):
            table[name] = tuple(table.get(name, getattr(cls, name)))
        return cls(**table)


def read_cases(folder: Path) -> Iterator[Case]:
    """Every case in a folder's ``.jsonl`` files; blank lines and those that begin with # are left
    out."""
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_text("utf-8").splitlines():
            if line.strip() and not line.startswith("#"):
                yield Case.of(line)


def placed(value: Any, models: Path, here: Path) -> Any:
    """A value of a case with the two folders put in."""
    if isinstance(value, str):
        return value.replace(MODELS, str(models)).replace(HERE, str(here))
    if isinstance(value, list | tuple):
        return [placed(entry, models, here) for entry in value]
    if isinstance(value, dict):
        return {placed(k, models, here): placed(v, models, here) for k, v in value.items()}
    return value
