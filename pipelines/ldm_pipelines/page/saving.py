"""What is made on the page, as files with their manifests; none is written over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ldm_core.errors import LdmError
from ldm_core.machine import refused
from ldm_core.media.hashes import pixel_hash
from ldm_core.media.kinds import noun
from ldm_core.media.made_files import kind_of_file
from ldm_core.media.names import write_named
from ldm_core.media.pictures import open_picture
from ldm_core.media.strips import thumbnail
from ldm_core.media.writers import find_writer
from ldm_core.model.files import file_hash
from ldm_core.run.entries import entry_of, facts_of
from ldm_core.run.output import Output
from ldm_core.run.pipeline import Pipeline
from ldm_core.run.saving import save_entry
from ldm_pipelines.page.folders import GIVEN, Folders


@dataclass(frozen=True)
class Saved:
    """A file that was made.

    Attributes:
        label: what it is called on the page, where not by its seed.
        small: a picture of it, of what is none.
    """

    path: Path
    kind: str
    seed: int
    label: str = ""
    small: Image.Image | None = None

    @property
    def caption(self) -> str:
        return self.label or f"seed {self.seed}"


def save(pipe: Pipeline, output: Output, folder: Path, format: str | None = None) -> list[Saved]:
    """Write an output into a folder, each entry under a name that is free.

    Args:
        format: name of a writer.
    Raises:
        MachineError: nothing can be written there.
    """
    composition = pipe.composition
    writer, registry = find_writer(composition, format), composition.registry
    saved = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for index, manifest in enumerate(output.manifests):
            shown, others = entry_of(writer, output, index, registry)
            manifest = {**manifest, **facts_of(output, index)}
            path = save_entry(folder, writer, shown, others, manifest)
            small = thumbnail("audio", shown.data) if output.kind == "audio" else None
            saved.append(Saved(path, output.kind, manifest["seed"], small=small))
    except OSError as error:
        raise refused(f"no {noun(output.kind)} can be written to '{folder}'", error) from None
    return saved


def keep(dropped: Path, folders: Folders) -> Path:
    """Keep a picture, video or sound that was dropped on the page, so that a manifest that names it
    stays true; one with the same contents is kept once.

    Raises:
        LdmError: it is none.
    """
    kind = kind_of_file(dropped)
    if kind == "image":
        pixel_hash(open_picture(dropped))
    home = folders.out / GIVEN
    path = home / f"{file_hash(dropped)[:16]}{_suffix(dropped)}"
    data = dropped.read_bytes()
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            write_named(path, lambda fresh: fresh.write_bytes(data))
    except OSError as error:
        raise refused(f"nothing can be written to '{home}'", error) from None
    return path


def _suffix(path: Path) -> str:
    """The suffix of a name, where it is one that says nothing but the format."""
    suffix = path.suffix.lower()
    if suffix[1:].isalnum() and suffix.isascii() and len(suffix) <= 6:
        return suffix
    raise LdmError("the name of the file that was dropped does not say its format.")


def names_of(saved: Sequence[Saved]) -> str:
    """Where files are, for a person: of those of a comparison, their folder."""
    places = (one.path.parent if one.label else one.path for one in saved)
    return "\n".join(dict.fromkeys(map(str, places)))
