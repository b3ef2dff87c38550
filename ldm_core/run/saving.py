"""Outputs in files, each entry with its manifest, for the command line and for Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ldm_core.contracts import Shown, Writer
from ldm_core.contracts.files import expanded
from ldm_core.errors import LdmError
from ldm_core.machine import refused
from ldm_core.media.json_text import json_text
from ldm_core.media.names import write_new
from ldm_core.media.picture_manifests import BESIDE
from ldm_core.media.writers import named_writer
from ldm_core.plugins.registry import installed
from ldm_core.run.entries import entry_of, facts_of

if TYPE_CHECKING:
    from ldm_core.run.output import Output


def save_output(output: Output, folder: str | Path, format: str | None) -> list[Path]:
    """Write an output; see `Output.save`."""
    out = expanded(folder)
    if output.kind in ("image", "video"):
        as_images = isinstance(output.images, list)
    else:
        as_images = not isinstance(output.images, Tensor)
    if not as_images:
        raise LdmError(
            "files are written of what a call gives as images: leave out its output_type, or let "
            "it be 'pil'."
        )
    writer, registry = named_writer(output.kind, installed(), format), installed()
    entries = [entry_of(writer, output, index, registry) for index in range(len(output.seeds))]
    try:
        out.mkdir(parents=True, exist_ok=True)
        paths = []
        for index, (entry, others) in enumerate(entries):
            manifest = {**output.manifests[index], **facts_of(output, index)}
            paths.append(save_entry(out, writer, entry, others, manifest))
    except OSError as error:
        raise refused(f"nothing can be written to '{out}'", error) from None
    return paths


def save_entry(
    folder: Path,
    writer: Writer,
    shown: Shown,
    others: Sequence[tuple[Writer, Shown]],
    manifest: Mapping[str, Any],
) -> Path:
    """Save one entry of an output, and what belongs to it, under names that are free.

    Args:
        others: what goes into files of its own, with their writers.
    """
    ending = f"-seed{manifest['seed']}"
    path = write_entry(folder, writer, shown, manifest, caption(manifest), ending)
    for other, beside in others:
        write_entry(folder, other, beside, manifest, "", path.stem)
    return path


def write_entry(
    folder: Path,
    writer: Writer,
    shown: Shown,
    manifest: Mapping[str, Any],
    stem: str,
    ending: str,
) -> Path:
    """Write it under a name that is free, its manifest beside it where the format holds none."""

    def write(path: Path) -> None:
        writer.write(shown, manifest, path)

    def write_beside(path: Path) -> None:
        path.write_text(json_text(manifest, indent=2) + "\n", encoding="utf-8")

    beside = None if writer.holds(manifest) else (BESIDE, write_beside)
    return write_new(folder, stem, writer.suffix, write, ending=ending, beside=beside)


def caption(manifest: Mapping[str, Any]) -> str:
    """What a picture is called: its title or prompt, or else its inputs, or the model."""
    inputs = {n: v for n, v in manifest["inputs"].items() if not isinstance(v, dict)}
    inputs = {name: value for name, value in inputs.items() if value not in (None, "")}
    if title := manifest.get("title") or inputs.get("prompt"):
        return str(title)
    if inputs:
        return ", ".join(f"{name} {_short(value)}" for name, value in inputs.items())
    return Path(manifest["recipe"]["model"]).name


def _short(value: Any) -> str:
    path = Path(value) if isinstance(value, str) else None
    return path.stem if path and path.suffix else str(value)
