"""The picture of ``ldm explain --plot``: the grid, and the scheduler's coefficients."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

from ldm_core.errors import LdmError
from ldm_core.media.names import check_new, write_whole

FORMATS = (".png", ".svg", ".pdf")
MOST_TICKS = 12


def check_plot(path: Path, *, overwrite: bool = False) -> None:
    """See that a picture can be written there, before anything is computed.

    Raises:
        LdmError: another suffix, no such folder, the name is taken, or matplotlib is not installed.
    """
    if path.suffix.lower() not in FORMATS:
        raise LdmError(
            f"a plot is a file that ends in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, "
            f"not '{path.name}'."
        )
    folder = path.absolute().parent
    if not folder.is_dir():
        raise LdmError(f"the plot '{path}' cannot be written: there is no folder '{folder}'.")
    check_new(path, overwrite=overwrite, name="plot")
    if importlib.util.find_spec("matplotlib") is None:
        raise LdmError(
            "plots need the package matplotlib, which is not installed.",
            "pip install 'ldm-core[plot]'",
        )


def draw(report: dict[str, Any]) -> Any:
    """A figure of what `describe` reports.

    One panel shows log-SNR and timestep of the grid's points. Where the scheduler is linear,
    another shows its table as a heat map, one row for each evaluation of the network and one for
    the end, and a third how much of the start, the estimates and fresh noise is in each row.
    """
    from matplotlib.figure import Figure

    table = report["table"]
    figure = Figure(figsize=(12, 7) if table else (7, 5), layout="constrained")
    stages = {stage["stage"]: stage for stage in report["stages"]}
    points = stages["spacing"]["name"] if stages["spacing"]["used"] else "its own points"
    unit = "step" if report["num_inference_steps"] == 1 else "steps"
    figure.suptitle(
        f"{stages['scheduler']['name']} on {points}, {report['num_inference_steps']} {unit}"
    )
    if not table:
        _draw_grid(figure.subplots(), report["grid"])
        return figure
    axes: dict[str, Any] = figure.subplot_mosaic([["grid", "table"], ["makeup", "table"]])
    _draw_grid(axes["grid"], report["grid"])
    _draw_makeup(axes["makeup"], table)
    _draw_table(axes["table"], table)
    return figure


def save(figure: Any, path: Path, *, overwrite: bool = False) -> None:
    """Write the figure in the format of the path's suffix, whole or not at all.

    Raises:
        LdmError: the name is taken, and is not to be overwritten.
    """
    form = path.suffix.lower().removeprefix(".")
    write_whole(
        path, lambda fresh: figure.savefig(fresh, dpi=120, format=form), overwrite=overwrite
    )


def _draw_grid(axes: Any, grid: list[dict[str, Any]]) -> None:
    log_snr = [float(point["log_snr"]) for point in grid]
    finite = [i for i, value in enumerate(log_snr) if abs(value) < float("inf")]
    axes.plot(finite, [log_snr[i] for i in finite], "o-", color="C0", markersize=3)
    for i in set(range(len(grid))) - set(finite):
        # An infinite one stands at the frame: no noise at the top, no signal at the bottom.
        height, marker = (1, "^") if log_snr[i] > 0 else (0, "v")
        axes.plot(
            i, height, marker, color="C0", clip_on=False, transform=axes.get_xaxis_transform()
        )
    axes.set(title="grid (an arrow at the frame is infinite)", xlabel="point")
    axes.set_ylabel("log-SNR", color="C0")
    times = axes.twinx()
    times.plot(range(len(grid)), [point["t"] for point in grid], ".--", color="C1", markersize=3)
    times.set_ylabel("timestep", color="C1")


def _draw_makeup(axes: Any, table: dict[str, Any]) -> None:
    rows = [dict(zip(table["symbols"], row["coefficients"], strict=True)) for row in table["rows"]]
    axes.plot([row["x"] for row in rows], "o-", markersize=3, label="start x")
    estimates = [sum(value for s, value in row.items() if s.startswith("x0")) for row in rows]
    axes.plot(estimates, "o-", markersize=3, label="x0 estimates (sum)")
    noises = [math.hypot(*(v for s, v in row.items() if s.startswith("noise"))) for row in rows]
    if any(noises):
        axes.plot(noises, "o-", markersize=3, label="noise (root of sum of squares)")
    axes.set(title="what x is made of", xlabel="evaluation", ylabel="coefficient")
    axes.legend(fontsize="small")


def _draw_table(axes: Any, table: dict[str, Any]) -> None:
    values = [row["coefficients"] for row in table["rows"]]
    largest = max(abs(value) for row in values for value in row)
    image = axes.imshow(
        values, cmap="RdBu_r", vmin=-largest, vmax=largest, aspect="auto", interpolation="nearest"
    )
    axes.set(title="x at each evaluation, and at the end", ylabel="evaluation")
    symbols = table["symbols"]
    shown = range(0, len(symbols), max(1, -(-len(symbols) // MOST_TICKS)))
    axes.set_xticks(list(shown), [symbols[i] for i in shown], rotation=90)
    axes.figure.colorbar(image, ax=axes, label="coefficient")
