"""How far cells are from one of them: the peak signal-to-noise ratio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ldm_core.errors import LdmError
from ldm_pipelines.comparing.axes import parted
from ldm_pipelines.comparing.comparison import Cell, Measure, Shot

if TYPE_CHECKING:
    from torch import Tensor


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
    """Decibels between the pictures of each cell and those of one cell, of 8 bits, the mean over
    the pictures as the metric `psnr` has it; infinite where one of them is the same, None where
    there are none to compare. Where cells have several pictures, the ends of the figure's interval
    too."""

    def measure(cells: Sequence[Cell]) -> Mapping[str, Sequence[Any]]:
        from ldm_core.contracts import measures
        from ldm_pipelines.evaluating.bootstrap import interval
        from ldm_pipelines.evaluating.columns import ends

        metric = measures("pairs")(lambda pictures, references: pictures)
        found = [_decibels(cell, reference) for cell in cells]
        values = [None if rows is None else float(rows.mean()) for rows in found]
        intervals = [
            None if value is None or rows is None else interval(metric, value, rows, resamples=None)
            for value, rows in zip(values, found, strict=True)
        ]
        return {"psnr": values, **ends("psnr", [one or (None, None) for one in intervals])}

    return measure


def _decibels(cell: Cell, reference: Cell) -> Tensor | None:
    """Of each pair, (pairs, 1) float64; None where there is none."""
    import torch

    pairs = [
        (one, other)
        for one, other in zip(cell.shots, reference.shots, strict=True)
        if one.path is not None and other.path is not None
    ]
    squares = [square for one, other in pairs if (square := _square(one, other)) is not None]
    if not squares:
        return None
    return 10 * (255**2 / torch.tensor(squares, dtype=torch.float64)).log10().reshape(-1, 1)


def _square(one: Shot, other: Shot) -> float | None:
    """The mean square between two pictures; None where they are of different sizes."""
    import numpy as np

    if one.kind != "image":
        return None
    first, second = (np.asarray(s.data().convert("RGB"), dtype=np.float64) for s in (one, other))
    return float(np.square(first - second).mean()) if first.shape == second.shape else None
