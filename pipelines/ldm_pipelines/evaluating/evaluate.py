"""Evaluate pictures by metrics."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ldm_core.arguments import checks_arguments
from ldm_core.contracts.files import expanded
from ldm_core.errors import LdmError, LdmWarning, PartError
from ldm_core.model import place
from ldm_core.plugins.blame import blamed
from ldm_core.plugins.registry import Registry, installed
from ldm_core.values import brief
from ldm_pipelines.counting import counted
from ldm_pipelines.evaluating.bootstrap import interval
from ldm_pipelines.evaluating.choices import Chosen, chosen
from ldm_pipelines.evaluating.pairing import PairBy, pair
from ldm_pipelines.evaluating.pictures import Entry, batches, entries_in, pixels
from ldm_pipelines.evaluating.table import Figure, Table
from ldm_pipelines.evaluating.texts import texts_of

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Rows:
    """What was measured by one metric.

    Attributes:
        own, references: tensors (batch, values), by batches.
        names: of the pictures.
    """

    own: list[Tensor] = field(default_factory=list)
    references: list[Tensor] = field(default_factory=list)
    names: list[str] = field(default_factory=list)


@checks_arguments
def evaluate(
    pictures: str | Path,
    *,
    against: str | Path | None = None,
    metrics: Any,
    pair_by: PairBy = "name",
    batch_size: Annotated[int, Field(ge=1)] = 16,
    device: str = "auto",
    resamples: Annotated[int, Field(ge=0, le=100_000)] | None = None,
    skip_bad: bool = False,
    progress: bool = False,
    registry: Registry | None = None,
) -> Table:
    """Measure a folder of pictures by metrics.

    Args:
        pictures: a folder, or a picture.
        against: another, for metrics of pairs and of sets.
        metrics: names, ``"psnr"`` or ``"fid:features=random"``, tables with a ``name`` and options,
            or metrics made in Python; one or a list.
        pair_by: how pictures find their references: ``name``, ``seed`` (and inputs, by their
            manifests) or ``order``.
        device: where metrics compute: ``auto``, ``cpu``, ``cuda``.
        resamples: for the 95 % intervals; each metric's own number where left out, none with 0.
        skip_bad: leave out pictures that cannot be read or paired, and say so.
        progress: show a bar, in a terminal or notebook.
        registry: the plugins to choose from; those of the installed packages by default.
    Raises:
        LdmError: whatever can be seen to be wrong, before any weight is read.
    """
    several = [*metrics] if isinstance(metrics, list | tuple) else [metrics]
    measured = chosen(several, registry or installed())
    place.names_device(device)
    kinds = {one.metric.against for one in measured}
    check_against(measured, "" if against is None else str(against))
    own = entries_in(Path(pictures), skip_bad)
    others = [] if against is None else entries_in(Path(against), skip_bad)
    pairs = pair(own, others, pair_by, skip_bad) if "pairs" in kinds else []
    texts = texts_of(Path(pictures), own) if "texts" in kinds else {}
    _check_counts(measured, len(own), len(others))
    where = str(place.resolve({"device": device}).device)

    rows = {one.name: Rows() for one in measured}
    of_pairs, single, of_sets = _sorted(measured)
    partner = dict(pairs)
    alone, sets = own if single else [], others if of_sets else []
    total = len(alone) + len(sets) + len(pairs)
    with counted(total, "measured", progress) as advance:
        for batch in batches(alone, batch_size):
            images = pixels(batch, where)
            for one in single:
                second = ([texts[e.path] for e in batch],) if one.metric.against == "texts" else ()
                add_rows(one, batch, rows[one.name], images, *second)
            advance(len(batch))
        for batch in batches(sets, batch_size):
            images = pixels(batch, where)
            for one in of_sets:
                add_rows(one, batch, rows[one.name], images, reference=True)
            advance(len(batch))
        for batch in batches([entry for entry, _ in pairs], batch_size):
            images = pixels(batch, where)
            references = pixels([partner[entry] for entry in batch], where)
            for one in of_pairs:
                add_rows(one, batch, rows[one.name], images, references)
            advance(len(batch))
    figures = tuple(figure_of(one, rows[one.name], resamples) for one in measured)
    say_notes(figures)
    return Table(
        figures,
        str(expanded(pictures)),
        "" if against is None else str(expanded(against)),
        pair_by if pairs else "",
    )


def check_against(measured: Sequence[Chosen], against: str) -> None:
    """See that metrics have what they measure against, and that all of it is asked for.

    Raises:
        LdmError: some need references and there are none, or there are and none needs them.
    """
    needing = [one.name for one in measured if one.metric.against in ("pairs", "sets")]
    if needing and not against:
        raise LdmError(
            f"{needing[0]} measures pictures against others, and none are given.",
            "--against FOLDER names them.",
        )
    if against and not needing:
        raise LdmError(f"{measured[0].name} measures nothing against '{against}'; leave it out.")


def _sorted(measured: Sequence[Chosen]) -> tuple[list[Chosen], list[Chosen], list[Chosen]]:
    """Metrics of pairs, the others, and of those the ones of sets."""
    of_pairs = [one for one in measured if one.metric.against == "pairs"]
    single = [one for one in measured if one.metric.against != "pairs"]
    return of_pairs, single, [one for one in single if one.metric.against == "sets"]


def _check_counts(measured: Sequence[Chosen], own: int, others: int) -> None:
    for one in measured:
        counts = (own, others) if one.metric.against == "sets" else (own,)
        if min(counts) < one.metric.least:
            raise LdmError(
                f"{one.name} needs at least {one.metric.least} pictures"
                f"{' in each folder' if len(counts) > 1 else ''}, and there is "
                f"{min(counts)}."
            )


def add_rows(
    one: Chosen,
    batch: Sequence[Entry],
    rows: Rows,
    images: Tensor,
    *second: Any,
    reference: bool = False,
) -> None:
    """Measure a batch.

    Args:
        second: what the metric measures each picture against.
        reference: it is of the set that the others are compared with.
    """
    names = f"'{batch[0].name}'" + (f" to '{batch[-1].name}'" if len(batch) > 1 else "")
    with blamed(one.plugin, f"while it measured {names}"):
        measured = one.metric.rows(images, *second)
    if reference:
        rows.references.append(measured)
    else:
        rows.own.append(measured)
        rows.names += [entry.name for entry in batch]


def say_notes(figures: Iterable[Figure]) -> None:
    """Say what is to be known of figures."""
    for one in figures:
        for note in one.notes:
            warnings.warn(f"{one.metric}: {note}", LdmWarning, stacklevel=3)


def figure_of(one: Chosen, rows: Rows, resamples: int | None) -> Figure:
    """The figure of all rows, with its interval.

    Raises:
        LdmError: it is no number.
    """
    import torch

    metric, own = one.metric, torch.cat(rows.own)
    both = (own, torch.cat(rows.references)) if rows.references else (own,)
    with blamed(one.plugin, "while it came to its figure"):
        for name, row in zip(rows.names, own, strict=True):
            if row.isnan().any():
                raise PartError(metric, f"{one.name} gives no number (NaN) of '{name}'.")
        value = metric.of_rows(*both)
        notes = [metric.note(*both)] if metric.note is not None else []
        ends = interval(metric, value, *both, resamples=resamples)
        if math.isnan(value):
            raise PartError(metric, f"{one.name} gives no number (NaN) of these pictures.")
        for note in notes:
            if not isinstance(note, str):
                raise PartError(metric, f"the note of a metric is a text, not {brief(note)}.")
    notes = [note for note in notes if note]
    if not math.isfinite(value) or own.isinf().any():
        finite = own[own.isfinite().all(1)]
        if metric.figure is None and 0 < len(finite) < len(own):
            notes.append(f"the mean of the other {len(finite)} is {float(finite.mean()):.5g}")
    alone = metric.figure is None
    low, high = ends or (None, None)
    return Figure(
        metric=one.name,
        value=value,
        low=low,
        high=high,
        unit=metric.unit,
        higher_is_better=metric.higher_is_better,
        count=len(own),
        references=len(both[-1]) if metric.against in ("pairs", "sets") else 0,
        each=dict(zip(rows.names, own[:, 0].tolist(), strict=True)) if alone else {},
        notes=tuple(notes),
    )
