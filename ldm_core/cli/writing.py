"""Pictures written as they are made, each with its manifest."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from PIL.Image import Image

from ldm_core.cli.choices import RunChoices, make_folder
from ldm_core.errors import LdmWarning
from ldm_core.media.manifest import pixel_hash, python_inputs
from ldm_core.media.pictures import contact_sheet, free_path, save_png
from ldm_core.run.pipeline import Output


class Writer:
    """Writes what a run makes, batch by batch, and prints where it is.

    Args:
        call: how the function was called, for manifests of what it finished itself.
        caught: the warnings so far; those of this package are told with the next batch.
    """

    def __init__(
        self,
        choices: RunChoices,
        call: dict[str, Any],
        caught: Sequence[warnings.WarningMessage],
    ) -> None:
        self.made: list[Image] = []
        self._captions: list[str] = []
        self._choices = choices
        self._call = call
        self._caught = caught
        self._told = 0
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
        """Write a batch."""
        seconds = (time.perf_counter() - self._since) / len(output.images)
        notes = self._notes()
        for image, seed, manifest in zip(
            output.images, output.seeds, output.manifests, strict=True
        ):
            name = caption(manifest)
            path = free_path(self._choices.out, f"{name}-seed{seed}")
            manifest["pixels_sha256"] = pixel_hash(image)
            if "finish" in manifest or python_inputs(manifest["inputs"]):
                manifest["command"] = {**self._call, "image": len(self.made)}
            save_png(image, manifest, path)
            self.made.append(image)
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
                "width": image.width,
                "height": image.height,
                "num_inference_steps": manifest["num_inference_steps"],
                "warnings": notes,
            }
            typer.echo(json.dumps(record, ensure_ascii=False))
        self.rest()

    def write_sheet(self) -> None:
        """Put all pictures on the contact sheet, where one is asked for."""
        sheet = self._choices.sheet
        if sheet is not None and self.made:
            contact_sheet(self.made, self._captions).save(sheet, format="PNG")
            typer.echo(f"contact sheet: {sheet.resolve()}", err=self._choices.json)

    def told(self) -> str:
        """How many pictures are written, and where."""
        noun = "picture is" if len(self.made) == 1 else "pictures are"
        return f"{len(self.made)} {noun} in {self._choices.out}"

    def _notes(self) -> list[str]:
        new, self._told = self._caught[self._told :], len(self._caught)
        ours = [str(w.message) for w in new if issubclass(w.category, LdmWarning)]
        notes = list(dict.fromkeys(ours))
        for note in notes:
            typer.echo(f"warning: {note}", err=True)
        return notes


def caption(manifest: Mapping[str, Any]) -> str:
    """What a picture is called: its title or prompt, or else what was given instead, or the
    model."""
    inputs = {n: v for n, v in manifest["inputs"].items() if not (v is None or isinstance(v, dict))}
    if title := manifest.get("title") or inputs.get("prompt"):
        return str(title)
    if inputs:
        return ", ".join(f"{name} {_short(value)}" for name, value in inputs.items())
    return Path(manifest["recipe"]["model"]).name


def _short(value: Any) -> str:
    path = Path(value) if isinstance(value, str) else None
    return path.stem if path and path.suffix else str(value)
