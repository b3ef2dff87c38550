"""What a person sees of a run on its way: the bar, previews, and what it waits for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ldm_core.cli.choices import INLINE, DrawingChoices, WorkChoices, check_folder
from ldm_core.composition.recipe import Layer
from ldm_core.contracts.files import expanded, in_full
from ldm_core.errors import LdmError, did_you_mean
from ldm_core.jobs.folder import JobFolder
from ldm_core.model.launched import launched

if TYPE_CHECKING:
    from ldm_core.jobs.seeing import Seen
    from ldm_core.run.showing import By, Showing

BAR = "ldm-core:progress_bar"
WAYS: tuple[By, ...] = ("linear", "decoder")

PreviewOption = Annotated[
    str | None,
    typer.Option(help='Show what is being made in this .png or .jpg file, or "inline".'),
]
PreviewByOption = Annotated[
    str | None, typer.Option(help='How that is drawn: "linear" or "decoder".')
]
StepsToOption = Annotated[
    Path | None, typer.Option("--steps-to", help="Folder for a picture of each step.")
]
AnimationOption = Annotated[
    Path | None,
    typer.Option(help="Also write the way from noise as a .gif, .png, .webp or .mp4 file."),
]


def watch(layer: Layer, choices: WorkChoices) -> None:
    """Put what shows a run into its layer of a recipe: previews where they are asked for, and the
    bar where the recipe has no other observers and a person reads along."""
    drawing = choices if isinstance(choices, DrawingChoices) else None
    inline = drawing is not None and drawing.preview == INLINE  # which says itself how far it is
    if not (choices.json or inline or choices.quiet):
        layer.setdefault("observers", [BAR])
    if drawing is None or not drawing.seen:
        return
    showing = _showing(drawing)
    from ldm_core.run.preview import observer_of

    layer["observers"] = [*layer.get("observers", []), observer_of(showing)]


def job_seen(choices: DrawingChoices, out: Path, processes: int) -> Seen | None:
    """What shows the pictures of a job, each by itself; None where nothing is to be shown.

    A file that is written anew, and the terminal, are the first process' alone; where a job goes
    on, what was kept of pictures that are made again is replaced.

    Args:
        out: the job's folder.
        processes: how many make its pictures.
    Raises:
        LdmError: it cannot be shown so, or something has a name.
    """
    if not choices.seen:
        return None
    if choices.preview == INLINE and processes > 1:
        raise LdmError(
            f"{processes} processes draw at once, and a terminal shows one picture at a time.",
            "--preview FILE shows what the first of them makes.",
        )
    showing = _showing(choices, each=True, again=JobFolder(out).record() is not None)
    process = launched()
    if process is not None and process.rank > 0:
        showing.file = None
    from ldm_core.jobs.seeing import Seen

    return Seen(showing)


def _showing(choices: DrawingChoices, *, each: bool = False, again: bool = False) -> Showing:
    way = next((way for way in WAYS if way == choices.preview_by), None)
    if choices.preview_by is not None and way is None:
        raise LdmError(
            f"--preview-by is {' or '.join(WAYS)}, not '{choices.preview_by}'."
            f"{did_you_mean(choices.preview_by, WAYS)}"
        )
    if choices.seen == ["--preview-by"]:
        raise LdmError("--preview-by says how --preview, --steps-to or --animation is drawn.")
    from ldm_core.run.preview import showing_at

    return showing_at(
        file=None if choices.preview in (None, INLINE) else Path(str(choices.preview)),
        inline=choices.preview == INLINE,
        folder=choices.steps_to,
        animation=choices.animation,
        by=way,
        overwrite=choices.overwrite or again,
        each=each,
    )


def check_seen(choices: DrawingChoices, others: Mapping[str, Path | None]) -> None:
    """See that what is seen on the way has places of its own, before anything is computed.

    Args:
        others: files that are written beside, by their flags.
    """
    places = {
        **others,
        "--preview": None if choices.preview in (None, INLINE) else Path(str(choices.preview)),
        "--animation": choices.animation,
    }
    named = [(flag, in_full(path)) for flag, path in places.items() if path is not None]
    for place, (flag, path) in enumerate(named):
        for other, taken in named[:place]:
            if path == taken:
                raise LdmError(f"{other} and {flag} name the same file, '{path}'.")
    if choices.steps_to is not None:
        check_folder(expanded(choices.steps_to))
