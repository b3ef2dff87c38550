"""What happens on the page, in text that no browser takes for anything else."""

from __future__ import annotations

import base64
import html
import io
import os
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ldm_core.composition.toml_text import as_toml
from ldm_core.errors import LdmError, printable, with_class
from ldm_core.machine import machine_error
from ldm_core.media.manifest_record import Manifest
from ldm_core.media.picture_manifests import read_manifest
from ldm_core.media.pictures import decoded
from ldm_pipelines.page.making import Seen
from ldm_pipelines.page.saving import Saved, names_of


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
    batch = "" if seen.batches == 1 else f", batch {seen.batch + 1} of {seen.batches}"
    if seen.stopped:
        none = seen.what == "step" and not seen.saved
        kept = "nothing was saved" if none else "what was made is kept"
        told = [f"stopped at {seen.what} {seen.step} of {seen.steps}{batch}; {kept}", *seen.notes]
        return "\n".join([*told, *([names_of(seen.saved)] if seen.saved else [])])
    if seen.done:
        notes = "".join(f"\n{printable(note)}" for note in seen.notes)
        return f"seed {seen.seed}, {seen.seconds:.1f} s\n{names_of(seen.saved)}{notes}"
    if seen.step or (seen.steps and seen.what != "step"):
        return f"{seen.what} {seen.step} of {seen.steps}{batch}"
    return "reading the model"


def preview_html(picture: Image.Image, alt: str = "preview") -> str:
    """A picture in a page, without a file of it."""
    text = base64.b64encode(_png(picture)).decode()
    return f'<img class="preview" alt="{html.escape(alt)}" src="data:image/png;base64,{text}">'


def _png(picture: Image.Image) -> bytes:
    data = io.BytesIO()
    picture.convert("RGB").save(data, "PNG")
    return data.getvalue()


@dataclass(frozen=True)
class Shown:
    """Something that was made, as the page keeps it for a person.

    Attributes:
        small: a picture of it, of what is none, as a PNG.
    """

    path: str
    kind: str
    caption: str
    small: bytes = b""

    @classmethod
    def of(cls, saved: Saved) -> Shown:
        small = b"" if saved.small is None else _png(saved.small)
        return cls(str(saved.path), saved.kind, saved.caption, small)

    @property
    def entry(self) -> tuple[Any, str]:
        """What the gallery shows."""
        return (decoded(self.small, "PNG") if self.small else self.path), self.caption

    @property
    def how(self) -> str:
        """How it was made, in words; empty where the file is gone or does not say it."""
        try:
            return made_text(read_manifest(Path(self.path)))
        except (LdmError, OSError):
            return ""


def made_text(manifest: Mapping[str, Any]) -> str:
    """How something was made: its inputs and its recipe, as of its manifest."""
    sides = Manifest.of(manifest).size
    size = ", ".join(f"{name} {length}" for name, length in sides.items())
    inputs = {n: v for n, v in manifest["inputs"].items() if v is not None}
    call = {"seed": manifest["seed"], "size": size, "steps": manifest["num_inference_steps"]}
    lines = [f"# {name}: {value}" for name, value in {**inputs, **call}.items()]
    try:
        recipe = as_toml(manifest["recipe"])
    except LdmError:  # a part that was made in Python
        recipe = ""
    return printable("\n".join([*(line.replace("\n", " ") for line in lines), recipe]))
