"""What a person sees of a run on its way: the bar, previews, and what it waits for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ldm_core.cli.asking import is_terminal
from ldm_core.cli.choices import INLINE, PipelineChoices, RunChoices, check_folder
from ldm_core.cli.progress import ERASE, write_part
from ldm_core.composition.recipe import Layer
from ldm_core.contracts.files import expanded, in_full
from ldm_core.errors import LdmError, did_you_mean

BAR = "ldm-core:progress_bar"
WAYS = ("linear", "decoder")


def watch(layer: Layer, choices: PipelineChoices) -> None:
    """Put what shows a run into its layer of a recipe: previews where they are asked for, and the
    bar where the recipe has no other observers and a person reads along."""
    run = choices if isinstance(choices, RunChoices) else None
    inline = run is not None and run.preview == INLINE  # which says itself how far it is
    if not (choices.json or inline or (run is not None and run.quiet)):
        layer.setdefault("observers", [BAR])
    if run is None or not run.seen:
        return
    if run.preview_by not in (None, *WAYS):
        raise LdmError(
            f"--preview-by is {' or '.join(WAYS)}, not '{run.preview_by}'."
            f"{did_you_mean(str(run.preview_by), WAYS)}"
        )
    if run.seen == ["--preview-by"]:
        raise LdmError("--preview-by says how --preview, --steps-to or --animation is drawn.")
    from ldm_core.run.preview import preview

    seen = preview(
        file=None if run.preview in (None, INLINE) else Path(str(run.preview)),
        inline=inline,
        folder=run.steps_to,
        animation=run.animation,
        by=run.preview_by,  # type: ignore[arg-type]
        overwrite=run.overwrite,
    )
    layer["observers"] = [*layer.get("observers", []), seen]


def check_seen(choices: RunChoices) -> None:
    """See that what is seen on the way has places of its own, before anything is computed."""
    places = {
        "--sheet": choices.sheet,
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


@contextmanager
def reading(choices: RunChoices) -> Iterator[None]:
    """While weights are read, which may take long, say so on a terminal."""
    told = is_terminal(sys.stderr) and not (choices.json or choices.quiet)
    if told:
        write_part("reading weights ...")
    try:
        yield
    finally:
        if told:
            write_part(ERASE)
