"""Metrics of a comparison's cells, as columns of its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ldm_core.errors import LdmError
from ldm_core.media.picture_manifests import manifest_in
from ldm_core.model import place
from ldm_core.plugins.registry import Registry
from ldm_pipelines.evaluating.choices import Choice, Chosen, chosen
from ldm_pipelines.evaluating.evaluate import Rows, add_rows, figure_of, say_notes
from ldm_pipelines.evaluating.pictures import Entry, entry_of, pixels
from ldm_pipelines.evaluating.table import Figure

if TYPE_CHECKING:
    from ldm_pipelines.comparing.comparison import Cell, Measure, Shot

Columns = Mapping[str, Sequence[Any]]


def chosen_for_cells(
    metrics: Sequence[Choice], has_reference: bool, registry: Registry
) -> list[Chosen]:
    """The metrics that cells are to be measured by; no weight is read.

    Args:
        has_reference: one cell is named from which the others are measured.
    Raises:
        LdmError: there is no such metric, or one needs a reference and there is none.
    """
    measured = chosen(metrics, registry)
    for one in measured:
        if one.metric.against in ("pairs", "sets") and not has_reference:
            raise LdmError(
                f"{one.name} measures cells against one of them, and none is named.",
                "--against names it, as --against steps=50.",
            )
    return measured


def columns_of(measured: Sequence[Chosen], reference: Cell | None, device: str = "auto") -> Measure:
    """What makes the columns: a figure for each cell, of those of its pictures that are there; of
    pairs of those whose partner in the reference cell, of the same prompt and seed, is there and of
    the same size. None where no figure can be. Of metrics of each picture the ends of the figure's
    interval too, see `ldm_pipelines.evaluating.bootstrap.interval`, where cells have more than one.

    Args:
        measured: as of `chosen_for_cells`.
    """

    def measure(cells: Sequence[Cell]) -> Mapping[str, Sequence[Any]]:
        where = str(place.resolve({"device": device}).device)
        columns: dict[str, Sequence[Any]] = {}
        for one in measured:
            figures = [_figure(one, cell, reference, where) for cell in cells]
            columns[one.name] = [None if figure is None else figure.value for figure in figures]
            columns |= ends(one.name, [(f.low, f.high) if f else (None, None) for f in figures])
        return columns

    return measure


def ends(name: str, intervals: Sequence[tuple[float | None, float | None]]) -> Columns:
    """The columns of a figure's intervals beside its own; none where no cell has one."""
    if all(low is None for low, _ in intervals):
        return {}
    lows, highs = zip(*intervals, strict=True)
    return {f"{name} low": lows, f"{name} high": highs}


def _figure(one: Chosen, cell: Cell, reference: Cell | None, where: str) -> Figure | None:
    rows, against = Rows(), one.metric.against
    others = () if reference is None else reference.shots
    if against == "pairs":
        for mine, other in zip(cell.shots, others, strict=True):
            both = _entry(mine), _entry(other)
            if both[0] is not None and both[1] is not None and both[0].size == both[1].size:
                references = pixels([both[1]], where)
                add_rows(one, [both[0]], rows, pixels([both[0]], where), references)
    else:
        for shot in cell.shots:
            entry = _entry(shot)
            if entry is not None:
                second = ([_text(shot)],) if against == "texts" else ()
                add_rows(one, [entry], rows, pixels([entry], where), *second)
    for shot in others if against == "sets" else ():
        entry = _entry(shot)
        if entry is not None:
            add_rows(one, [entry], rows, pixels([entry], where), reference=True)
    count = min(len(rows.own), len(rows.references)) if against == "sets" else len(rows.own)
    if count < one.metric.least:
        return None
    # sets are not drawn again, which takes their metric as long for each draw as for the figure
    resamples = 0 if against == "sets" or cell == reference else None
    figure = figure_of(one, rows, resamples)
    if cell != reference:  # of which everything is known
        say_notes([figure])
    return figure


def _entry(shot: Shot) -> Entry | None:
    """The picture of a shot; None where it is not made."""
    if shot.path is None:
        return None
    if shot.kind != "image":
        raise LdmError(f"'{shot.path}' is no picture, and pictures are measured.")
    return entry_of(shot.path, shot.path.stem)


def _text(shot: Shot) -> str:
    """What a picture was asked to show."""
    inputs = (manifest_in(shot.path) or {}).get("inputs") if shot.path is not None else None
    prompt = inputs.get("prompt") if isinstance(inputs, dict) else shot.prompt
    if not isinstance(prompt, str):
        raise LdmError(
            f"no prompt is known of '{shot.path}', which is what it is measured against."
        )
    return prompt
