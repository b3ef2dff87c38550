"""What is drawn, written as it is made, each with its manifest."""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from PIL import Image

from ldm_core.cli.choices import RunChoices, make_folder
from ldm_core.cli.ends import say
from ldm_core.cli.streams import print_line
from ldm_core.contracts import Shown, Writer
from ldm_core.errors import LdmWarning, PluginError
from ldm_core.machine import refused
from ldm_core.media.json_text import json_text
from ldm_core.media.manifest import extent_of, pixel_hash, python_inputs
from ldm_core.media.names import write_new
from ldm_core.media.picture_manifests import BESIDE
from ldm_core.media.pictures import open_picture
from ldm_core.media.present import Present
from ldm_core.media.sheet import CELL, contact_sheet, save_sheet
from ldm_core.media.writers import writer_of
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
        present: what is in the folder already, and not made again; None where that does not matter.
    """

    def __init__(
        self,
        choices: RunChoices,
        writer: Writer,
        registry: Registry,
        call: dict[str, Any],
        caught: list[warnings.WarningMessage],
        present: Present | None,
    ) -> None:
        self.count = self.there = self.failed = 0
        self._small: dict[int, tuple[Image.Image, str]] = {}
        self._choices = choices
        self._writer = writer
        self._registry = registry
        self._call = call
        self._caught = caught
        self._present = present
        self._asked = 0
        self._left: deque[int] = deque()
        self._since = time.perf_counter()

    def open(self) -> None:
        """Make the folders; called once all that can be checked is checked."""
        make_folder(self._choices.out)
        if self._choices.sheet is not None:
            make_folder(self._choices.sheet.parent)

    def rest(self) -> None:
        """Begin to measure time anew."""
        self._since = time.perf_counter()

    def skip(self, manifest: Mapping[str, Any]) -> bool:
        """Whether a picture is in the folder already, by what its manifest would be: it is then
        reported, and need not be made. Asked of each picture before the first is made, or of
        none."""
        place, self._asked = self._asked, self._asked + 1
        path = None if self._present is None else self._present.path_of(manifest)
        if path is None:
            self._left.append(place)
            return False
        self._report(path, manifest, place, made=False)
        return True

    def write(self, output: Output) -> None:
        """Write a batch; of images that are not finite a message each.

        Raises:
            PluginError: the writer is another package's and fails at one of them; the others are
                written.
        """
        seconds = (time.perf_counter() - self._since) / output.asked
        beside = self._beside(output)
        notes = self.notes()
        places = [self._next() for _ in range(output.asked)]
        broken: PluginError | None = None
        several = zip(output.images, output.manifests, output.indices, strict=True)
        for index, (image, manifest, at) in enumerate(several):
            place = places[at]
            if output.kind == "image":
                manifest["pixels_sha256"] = pixel_hash(image)
            if "finish" in manifest or python_inputs(manifest["inputs"]):
                manifest["command"] = {**self._call, "image": place}
            try:
                there = None if self._present is None else self._present.path_of(manifest)
                path = there or self._save_all(image, output, index, manifest, beside)
            except PluginError as error:
                broken = broken or error
                continue
            except OSError as error:
                out = self._choices.out
                raise refused(f"no picture can be written to '{out}'", error) from None
            small = image if output.kind == "image" else None
            self._report(path, manifest, place, there is None, seconds, notes, small)
        self.fail(output.failures)
        self.rest()
        if broken is not None:
            raise broken

    def _next(self) -> int:
        """The place of the next image among all that were asked for."""
        if self._left:
            return self._left.popleft()
        self._asked += 1
        return self._asked - 1

    def _report(
        self,
        path: Path,
        manifest: Mapping[str, Any],
        place: int,
        made: bool,
        seconds: float = 0.0,
        notes: Sequence[str] = (),
        image: Image.Image | None = None,
    ) -> None:
        """Print where a picture is, and keep a small one for the sheet."""
        self.count += 1
        self.there += not made
        if self._choices.sheet is not None and self._writer.kind == "image":
            small = open_picture(path) if image is None else image.copy()
            small.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
            self._small[place] = (small, caption(manifest))
        if not self._choices.json:
            print_line(str(path))
            return
        record = {
            "path": str(path),
            "made": made,
            "seed": manifest["seed"],
            "seconds": round(seconds, 3),
            "prompt": manifest["inputs"].get("prompt"),
            "inputs": manifest["inputs"],
            **extent_of(manifest),
            "num_inference_steps": manifest["num_inference_steps"],
            "warnings": notes,
        }
        typer.echo(json_text(record))

    def fail(self, failures: Sequence[Failure]) -> None:
        """Say which images are not made, and why."""
        for failure in failures:
            self.failed += 1
            say("\n  ".join([f"error: {failure.message}", *filter(None, [failure.hint])]))
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
        if sheet is not None and self._small:
            make_folder(sheet.parent)
            several = [self._small[place] for place in sorted(self._small)]
            whole = contact_sheet([small for small, _ in several], [name for _, name in several])
            try:
                save_sheet(whole, sheet, overwrite=self._choices.overwrite)
            except OSError as error:
                raise refused(f"the contact sheet '{sheet}' cannot be written", error) from None
            print_line(f"contact sheet: {sheet.resolve()}", error=self._choices.json)

    def summary(self) -> str:
        """How many pictures are written, and where."""
        if self.count == 0:
            return f"no picture of this run is in {self._choices.out} yet"
        noun = "picture is" if self.count == 1 else "pictures are"
        before = f", {self.there} of them from before" if self.there else ""
        return f"{self.count} {noun} in {self._choices.out}{before}"

    def note(self) -> None:
        """Say how many pictures were there already, where some were."""
        if self.there:
            were = "picture was" if self.there == 1 else "pictures were"
            say(f"note: {self.there} {were} there already, and not made again")

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

    def _save_all(
        self,
        data: Any,
        output: Output,
        index: int,
        manifest: dict[str, Any],
        beside: Sequence[tuple[Writer, Output]],
    ) -> Path:
        """Save one entry of an output, and what belongs to it."""
        shown, ending = Shown(data, output.rate), f"-seed{manifest['seed']}"
        path = self._save(self._writer, shown, manifest, caption(manifest), ending)
        for writer, other in beside:
            show = Shown(other.images[index], other.rate)
            self._save(writer, show, manifest, "", path.stem)
        return path

    def _save(
        self, writer: Writer, shown: Shown, manifest: dict[str, Any], stem: str, ending: str
    ) -> Path:
        def write(path: Path) -> None:
            writer.write(shown, manifest, path)

        def write_beside(path: Path) -> None:
            path.write_text(json_text(manifest, indent=2) + "\n", encoding="utf-8")

        beside = None if writer.holds(manifest) else (BESIDE, write_beside)
        return write_new(
            self._choices.out, stem, writer.suffix, write, ending=ending, beside=beside
        )

    def notes(self) -> list[str]:
        """Say the warnings since the last time."""
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
