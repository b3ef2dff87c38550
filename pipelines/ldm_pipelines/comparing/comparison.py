"""What came of a comparison: cells, each with its pictures and what they took."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ldm_core.errors import LdmError
from ldm_core.jobs.job import Job
from ldm_core.jobs.ledger import Ledger, Result
from ldm_core.media.made_files import read_data
from ldm_core.media.picture_manifests import manifest_in
from ldm_pipelines.comparing.axes import Axis
from ldm_pipelines.comparing.cells import Plan, name_of

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Shot:
    """One picture of a cell, or why there is none.

    Attributes:
        prompt: where cells have several, or one that no axis says.
        seed: None where the axis says something that is none.
        path: None where it is not made.
        seconds: that it took, its share of those made with it; None where that is not known, as of
            one whose process died before it was written down.
        evaluations: of the denoiser.
        together: how many pictures were made at once, whose time is shared equally.
        error: why it is not made.
        kind: of medium.
    """

    prompt: str | None
    seed: int | None
    path: Path | None = None
    seconds: float | None = None
    evaluations: int | None = None
    together: int | None = None
    error: str | None = None
    kind: str = "image"

    def data(self) -> Any:
        """What it shows, as a writer gets it: a picture, frames, or samples.

        Raises:
            LdmError: it is not made, or its file cannot be read.
        """
        if self.path is None:
            raise LdmError(f"there is no picture: {self.error}.")
        return read_data(self.path, self.kind, manifest_in(self.path) or {})


@dataclass(frozen=True)
class Cell:
    """One choice of a value on each axis.

    Attributes:
        place: of the values on the axes.
        labels: the values, by the axes' names.
        shots: its pictures, alike in all cells.
    """

    place: tuple[int, ...]
    labels: Mapping[str, str]
    shots: tuple[Shot, ...]

    @property
    def name(self) -> str:
        """Its values in a line."""
        return name_of(self.labels)

    @property
    def made(self) -> list[Shot]:
        """The pictures that are there."""
        return [shot for shot in self.shots if shot.path is not None]

    @property
    def refused(self) -> str:
        """Why pictures are not made, each reason once; nothing where all are there."""
        return "; ".join(dict.fromkeys(shot.error for shot in self.shots if shot.error))

    @property
    def seconds(self) -> float | None:
        """The mean over its pictures, of those of which it is known."""
        known = [shot.seconds for shot in self.shots if shot.seconds is not None]
        return sum(known) / len(known) if known else None

    @property
    def evaluations(self) -> int | None:
        """Of each picture; None where it is not known, or not the same for all."""
        counts = {shot.evaluations for shot in self.made}
        return counts.pop() if len(counts) == 1 else None

    @property
    def together(self) -> int | None:
        """How many pictures were made at once, at most."""
        return max((s.together for s in self.made if s.together is not None), default=None)


Measure = Callable[[Sequence[Cell]], Mapping[str, Sequence[Any]]]
"""``measure(cells)``: columns of the table by their names, each with a value for each cell, None
where there is none. `Shot.data` reads a picture."""


@dataclass(frozen=True)
class Comparison:
    """Cells, in the order of the axes' values, the last axis first.

    Attributes:
        plan: what is compared.
        columns: what was measured of the cells, by name, see `with_columns`.
    """

    plan: Plan
    cells: tuple[Cell, ...]
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    room: TemporaryDirectory[str] | None = field(default=None, repr=False, compare=False)

    def cell(self, values: Mapping[str, Any]) -> Cell:
        """The one cell of these values, such as ``{"scheduler": "ddim", "steps": 8}``.

        Raises:
            LdmError: as of `Plan.find`.
        """
        return self.cells[self.plan.find(values)]

    @property
    def axes(self) -> tuple[Axis, ...]:
        """What cells differ in."""
        return self.plan.axes

    def with_columns(self, measure: Measure) -> Comparison:
        """The same with what a function measures of the cells, as further columns."""
        columns = measure(self.cells)
        for name, values in columns.items():
            if len(values) != len(self.cells):
                raise LdmError(f"the column '{name}' has {len(values)} values for "
                               f"{len(self.cells)} cells.")  # fmt: skip
        return replace(self, columns={**self.columns, **columns})

    def table(self) -> list[dict[str, Any]]:
        """A row for each cell: its values under ``axes``, ``pictures``, ``seconds`` each,
        ``evaluations``, ``together``, what was measured under ``measured``, and ``refused``."""
        return [
            {
                "axes": dict(cell.labels),
                "pictures": len(cell.made),
                "seconds": None if cell.seconds is None else round(cell.seconds, 3),
                "evaluations": cell.evaluations,
                "together": cell.together,
                "measured": {name: values[at] for name, values in self.columns.items()},
                "refused": cell.refused or None,
            }
            for at, cell in enumerate(self.cells)
        ]

    def sheets(self) -> list[Image.Image]:
        """Contact sheets with the first axis down and the second across, one for each value of
        further axes and each picture of a cell. Of letters that their font lacks, it warns."""
        from ldm_core.media.letters import legible_labels
        from ldm_pipelines.comparing.layout import pages
        from ldm_pipelines.comparing.sheet import draw_page

        return [draw_page(page) for page in pages(self, legible_labels)]

    def page(self) -> str:
        """An HTML page with all pictures within it, and a slider between two of them."""
        from ldm_pipelines.comparing.page import as_html

        return as_html(self)


def comparison_of(job: Job, plan: Plan, room: TemporaryDirectory[str] | None = None) -> Comparison:
    """What became of a comparison's job, from its ledger.

    Args:
        room: the folder that the job is in, where it goes with the comparison.
    """
    ledger = Ledger(job.folder.ledger, job.asked.pictures, nullcontext)
    last = {result.index: result for result in ledger.results()}
    bad = {line.index: line.reason for line in job.asked.bad}
    pictures = {picture.index: picture for picture in job.pictures}
    seeds = {line.index: line.values.get("seed") for line in job.lines.lines}

    def shot(index: int, at: int) -> Shot:
        blank = Shot(plan.prompts[at // plan.images], seeds.get(index), kind=job.writer.kind)
        if index in bad:
            return replace(blank, error=bad[index])
        result, file = last.get(index), job.files.file(pictures[index])
        if result is None:
            return replace(blank, error="it is not made yet")
        if result.error is not None:
            return replace(blank, error=result.error.rstrip("."))
        return replace(_timed(blank, result), path=job.folder.path / file)

    cells = []
    for number, place in enumerate(plan.places()):
        first = number * plan.of_each
        shots = tuple(shot(first + at, at) for at in range(plan.of_each))
        cells.append(Cell(place, plan.labels(place), shots))
    return Comparison(plan, tuple(cells), room=room)


def _timed(blank: Shot, result: Result) -> Shot:
    """With what a picture took; no time stands for one whose process did not write it down."""
    return replace(
        blank,
        seed=result.seed,
        seconds=result.seconds or None,
        evaluations=result.evaluations,
        together=result.together,
    )
