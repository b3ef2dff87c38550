"""How far cells are from one of them: the peak signal-to-noise ratio."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ldm_core.errors import LdmError
from ldm_pipelines.comparing.axes import parted
from ldm_pipelines.comparing.comparison import Cell, Measure, Shot


def read_against(text: str) -> dict[str, str]:
    """The values of a cell as the command line has them, ``NAME=VALUE,NAME=VALUE``.

    Raises:
        LdmError: it has another form.
    """
    values: dict[str, str] = {}
    name = ""
    for piece in text.split(","):
        if "=" in piece:
            name, [value] = parted(piece)
            if name in values:
                raise LdmError(f"--against says '{name}' twice.")
            values[name] = value
        elif name:  # a comma within a value
            values[name] += f",{piece}"
        else:
            raise LdmError(
                f"--against '{text}' should look like NAME=VALUE,NAME=VALUE.",
                "as in --against scheduler=ddim,steps=50, of values that are on the axes.",
            )
    return values


def psnr_to(reference: Cell) -> Measure:
    """Decibels between the pictures of each cell and those of one cell, of 8 bits, the mean square
    over all of them; infinite where they are the same, None where there are none to compare."""

    def measure(cells: Sequence[Cell]) -> Mapping[str, Sequence[Any]]:
        return {"psnr": [_psnr(cell, reference) for cell in cells]}

    return measure


def _psnr(cell: Cell, reference: Cell) -> float | None:
    pairs = [
        (one, other)
        for one, other in zip(cell.shots, reference.shots, strict=True)
        if one.path is not None and other.path is not None
    ]
    squares = [square for one, other in pairs if (square := _square(one, other)) is not None]
    if not squares:
        return None
    mean = sum(squares) / len(squares)
    return math.inf if mean == 0 else 10 * math.log10(255**2 / mean)


def _square(one: Shot, other: Shot) -> float | None:
    """The mean square between two pictures; None where they are of different sizes."""
    import numpy as np

    if one.kind != "image":
        return None
    first, second = (np.asarray(s.data().convert("RGB"), dtype=np.float64) for s in (one, other))
    return float(np.square(first - second).mean()) if first.shape == second.shape else None
