"""What is drawn, written as it is made, each with its manifest."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from PIL import Image

from ldm_core.cli.choices import RunChoices, make_folder
from ldm_core.cli.writers import writer_of
from ldm_core.contracts import Shown, Writer
from ldm_core.errors import LdmWarning
from ldm_core.media.json_text import json_text
from ldm_core.media.manifest import extent_of, pixel_hash, python_inputs
from ldm_core.media.names import write_new
from ldm_core.media.sheet import CELL, contact_sheet, save_sheet
from ldm_core.plugins.registry import Registry
from ldm_core.run.output import Failure, Output


class BatchWriter:
    """Writes outputs, batch by batch, and prints where each picture is; keeps none.

    Args:
        writer: of the files.
        registry: where writers of what belongs to a medium, such as a video's sound, are found.
        call: how the function was called, for manifests of what it finished itself.
        caught: the warnings so far, which are taken out; those of this package are shown with the
            next batch.
    """

    def __init__(
        self,
        choices: RunChoices,
        writer: Writer,
        registry: Registry,
        call: dict[str, Any],
        caught: list[warnings.WarningMessage],
    ) -> None:
        self.count = 0
        self.failed = 0
        self._asked = 0
        self._thumbnails: list[Image.Image] = []
        self._captions: list[str] = []
        self._choices = choices
        self._writer = writer
        self._registry = registry
        self._call = call
        self._caught = caught
        self._since = time.perf_counter()

    def open(self) -> None:
        """Make the folders; called once all that can be checked is checked."""
        make_folder(self._choices.out)
        if self._choices.sheet is not None:
            make_folder(self._choices.sheet.parent)

    def rest(self) -> None:
        """Begin to measure time anew."""
        self._since = time.perf_counter()

    def write(self, output: Output) -> None:
        """Write a batch; of images that are not finite a message each."""
        seconds = (time.perf_counter() - self._since) / output.asked
        beside = self._beside(output)
        notes = self._notes()
        several = zip(output.images, output.seeds, output.manifests, output.indices, strict=True)
        for index, (image, seed, manifest, place) in enumerate(several):
            name = caption(manifest)
            if output.kind == "image":
                manifest["pixels_sha256"] = pixel_hash(image)
            if "finish" in manifest or python_inputs(manifest["inputs"]):
                manifest["command"] = {**self._call, "image": self._asked + place}
            path = self._save(
                self._writer, Shown(image, output.rate), manifest, name, f"-seed{seed}"
            )
            for writer, other in beside:
                show = Shown(other.images[index], other.rate)
                self._save(writer, show, manifest, "", path.stem)
            self.count += 1
            if self._choices.sheet is not None and output.kind == "image":
                small = image.copy()
                small.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
                self._thumbnails.append(small)
                self._captions.append(name)
            if not self._choices.json:
                typer.echo(str(path))
                continue
            record = {
                "path": str(path),
                "seed": seed,
                "seconds": round(seconds, 3),
                "prompt": manifest["inputs"].get("prompt"),
                "inputs": manifest["inputs"],
                **extent_of(manifest),
                "num_inference_steps": manifest["num_inference_steps"],
                "warnings": notes,
            }
            typer.echo(json_text(record))
        self.fail(output.failures)
        self._asked += output.asked
        self.rest()

    def fail(self, failures: Sequence[Failure]) -> None:
        """Say which images are not made, and why."""
        for failure in failures:
            self.failed += 1
            typer.echo(f"error: {failure.message}", err=True)
            if failure.hint:
                typer.echo(f"  {failure.hint}", err=True)
            if self._choices.json:
                inputs = failure.manifest.get("inputs", {})
                record = {
                    "error": failure.message,
                    "hint": failure.hint,
                    "seed": failure.seed,
                    "prompt": inputs.get("prompt"),
                    "inputs": inputs,
                    "what": failure.what,
                    "step": failure.step,
                    "steps": failure.steps,
                }
                typer.echo(json_text(record))

    def write_sheet(self) -> None:
        """Put all pictures on the contact sheet, where one is asked for."""
        sheet = self._choices.sheet
        if sheet is not None and self._thumbnails:
            save_sheet(contact_sheet(self._thumbnails, self._captions), sheet)
            typer.echo(f"contact sheet: {sheet.resolve()}", err=self._choices.json)

    def summary(self) -> str:
        """How many pictures are written, and where."""
        noun = "picture is" if self.count == 1 else "pictures are"
        return f"{self.count} {noun} in {self._choices.out}"

    def _beside(self, output: Output) -> list[tuple[Writer, Output]]:
        """What belongs to an output, with its writers; what none writes is said."""
        pairs = []
        for other in output.beside:
            writer = writer_of(other.kind, self._registry)
            if writer is None:
                warnings.warn(
                    f"the {other.kind} that belongs to it is not written: no installed package "
                    f"writes {other.kind}",
                    LdmWarning,
                    stacklevel=2,
                )
            else:
                pairs.append((writer, other))
        return pairs

    def _save(
        self, writer: Writer, shown: Shown, manifest: dict[str, Any], stem: str, ending: str
    ) -> Path:
        def write(path: Path) -> None:
            writer.write(shown, manifest, path)

        path = write_new(self._choices.out, stem, writer.suffix, write, ending=ending)
        if not writer.holds_manifest:
            beside = path.with_name(f"{path.name}.json")
            beside.write_text(json_text(manifest, indent=2) + "\n", encoding="utf-8")
        return path

    def _notes(self) -> list[str]:
        ours = [str(w.message) for w in self._caught if issubclass(w.category, LdmWarning)]
        self._caught.clear()
        notes = list(dict.fromkeys(ours))
        for note in notes:
            typer.echo(f"warning: {note}", err=True)
        return notes


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
