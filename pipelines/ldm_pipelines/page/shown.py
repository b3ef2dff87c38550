"""What happens on the page, in text that no browser takes for anything else."""

from __future__ import annotations

import base64
import html
import io
import os
import traceback

from PIL import Image

from ldm_core.errors import LdmError, printable, with_class
from ldm_core.machine import machine_error
from ldm_pipelines.page.making import Seen
from ldm_pipelines.page.saving import names_of


def error_text(error: BaseException) -> str:
    """An error as a person reads it: what is wrong, and where to look; never a traceback."""
    if os.environ.get("LDM_TRACEBACK"):
        traceback.print_exception(error)
    if isinstance(error, LdmError):
        return printable(f"error: {error}")
    if (machine := machine_error(error)) is not None:
        return printable(f"error: {machine}")
    return printable(f"error: this program failed: {with_class(error)}")


def progress_text(seen: Seen) -> str:
    """How far a run is."""
    if seen.waiting:
        return "waiting for another run to end"
    if seen.stopped:
        kept = "nothing was saved" if seen.what == "step" else "what was made is kept"
        return f"stopped at {seen.what} {seen.step} of {seen.steps}; {kept}"
    if seen.saved:
        notes = "".join(f"\n{printable(note)}" for note in seen.notes)
        return f"seed {seen.seed}, {seen.seconds:.1f} s\n{names_of(seen.saved)}{notes}"
    if seen.step or (seen.steps and seen.what != "step"):
        return f"{seen.what} {seen.step} of {seen.steps}"
    return "reading the model"


def preview_html(picture: Image.Image, alt: str = "preview") -> str:
    """A picture in a page, without a file of it."""
    data = io.BytesIO()
    picture.convert("RGB").save(data, "PNG")
    text = base64.b64encode(data.getvalue()).decode()
    return f'<img class="preview" alt="{html.escape(alt)}" src="data:image/png;base64,{text}">'
