"""Tables, files and the picture of what was measured."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Literal

from ldm_core.media.json_text import json_text
from ldm_pipelines.convergence.measuring import Convergence, Curve, Measured, Row
from ldm_pipelines.convergence.stretches import Stretch, log_snr

By = Literal["steps", "evaluations", "seconds"]
PANELS: tuple[By, ...] = ("steps", "evaluations", "seconds")


def lines(found: Convergence) -> Iterator[str]:
    """What is printed: for each stretch the orders, and then the walks."""
    yield f"on {found.subject}"
    for measured in found.stretches:
        yield ""
        yield f"{measured.stretch.name}: {measured.stretch}"
        yield (
            f"distances to {measured.reference}, "
            f"{'without error' if measured.error == 0 else f'itself {measured.error:.1e} off'}; "
            "over the root mean square of x there"
        )
        yield from _columns(
            ("scheduler", "order", "declared", ""),
            [
                (c.scheduler, str(c.order), _declared(c), ", ".join(c.notes))
                for c in measured.curves
            ],
        )
        yield from _columns(
            ("scheduler", "steps", "evaluations", "seconds", "distance"),
            [
                (
                    c.scheduler,
                    str(r.steps),
                    str(r.evaluations),
                    f"{r.seconds:.3f}",
                    _short(r.distance),
                )
                for c in measured.curves
                for r in c.rows
            ],
        )


def as_json(found: Convergence) -> str:
    """One JSON object; a distance that is no finite number is text, ``inf`` or ``nan``."""
    stretches = [
        {
            "name": measured.stretch.name,
            "from": _point(measured.stretch, "start"),
            "to": _point(measured.stretch, "end"),
            "spacing": measured.stretch.spacing,
            "reference": measured.reference,
            "reference_error": measured.error,
            "curves": [asdict(curve) for curve in measured.curves],
        }
        for measured in found.stretches
    ]
    inputs = _plain(found.inputs)
    return json_text({"subject": found.subject, "inputs": inputs, "stretches": stretches})


def as_csv(found: Convergence) -> str:
    """A line for each walk, as `Convergence.table` has them."""
    rows = found.table()
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def figure(found: Convergence) -> Any:
    """A matplotlib figure: a row of panels for each stretch, distance by steps, by evaluations and
    by seconds, both axes logarithmic. A point that the order was fitted to is filled; the grey
    line is the reference's own error."""
    from matplotlib.figure import Figure

    rows = len(found.stretches)
    drawn = Figure(figsize=(13, 4.6 * rows), layout="constrained")
    panels = drawn.subplots(rows, 3, squeeze=False)
    drawn.suptitle(f"distance to the reference, on {found.subject}")
    for measured, axes in zip(found.stretches, panels, strict=True):
        for one, by in zip(axes, PANELS, strict=True):
            _draw(one, measured, by)
        axes[0].set_ylabel("distance")
        axes[0].set_title(str(measured.stretch), fontsize="small", loc="left")
        axes[0].legend(fontsize="small")
    return drawn


def _draw(axes: Any, measured: Measured, by: By) -> None:
    for number, curve in enumerate(measured.curves):
        across = [_across(row, by) for row in curve.rows]
        values, color = [row.distance for row in curve.rows], f"C{number % 10}"
        label = curve.scheduler
        if curve.order.value is not None:
            label += f", order {curve.order.value:.2f}"
        axes.plot(across, values, "-", color=color, linewidth=1, label=label)
        for row, place in zip(curve.rows, across, strict=True):
            fitted = _fitted(curve, row.steps)
            filled = "full" if fitted else "none"
            axes.plot(place, row.distance, "o", color=color, markersize=4, fillstyle=filled)
    if measured.error > 0:
        axes.axhline(measured.error, color="0.6", linewidth=1)
    axes.set(xscale="log", yscale="log", xlabel=by)
    if by == "steps":
        counts = [row.steps for row in measured.curves[0].rows]
        axes.set_xticks(counts, [str(count) for count in counts], fontsize="small")
        axes.set_xticks([], minor=True)
    axes.grid(True, which="major", color="0.9")


def _across(row: Row, by: By) -> float:
    return {"steps": row.steps, "evaluations": row.evaluations, "seconds": row.seconds}[by]


def _fitted(curve: Curve, steps: int) -> bool:
    return curve.order.steps is not None and curve.order.steps[0] <= steps <= curve.order.steps[1]


def _declared(curve: Curve) -> str:
    return "none" if curve.declared is None else f"{curve.declared:g}"


def _short(value: float) -> str:
    return f"{value:.2e}"


def _point(stretch: Stretch, which: str) -> dict[str, float]:
    point = stretch.start if which == "start" else stretch.end
    return {"log_snr": log_snr(point), "t": point.t, "alpha": point.alpha, "sigma": point.sigma}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, *rows):
        yield "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
