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
from ldm_core.contracts import Writer
from ldm_core.errors import PluginError
from ldm_core.machine import refused
from ldm_core.media.json_text import json_text
from ldm_core.media.kinds import noun
from ldm_core.media.made_files import read_data, write_frames
from ldm_core.media.manifest import extent_of, python_inputs
from ldm_core.media.manifest_record import RATE
from ldm_core.media.present import Present
from ldm_core.media.sheet import contact_sheet, save_sheet
from ldm_core.media.strips import strip_sheet, thumbnail
from ldm_core.plugins.registry import Registry
from ldm_core.plugins.warned import told
from ldm_core.run.entries import entry_of, facts_of
from ldm_core.run.output import Failure, Output
from ldm_core.run.saving import caption, save_entry


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
        self.began = False

    def open(self) -> None:
        """Make the folders; called once all that can be checked is checked."""
        make_folder(self._choices.out)
        if self._choices.sheet is not None:
            make_folder(self._choices.sheet.parent)
        if self._choices.frames_to is not None:
            make_folder(self._choices.frames_to)

    def rest(self) -> None:
        """Begin to measure time anew, once weights are read."""
        self.began = True
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
        count = len(output.seeds)
        entries = [entry_of(self._writer, output, i, self._registry) for i in range(count)]
        notes = self.notes()
        places = [self._next() for _ in range(output.asked)]
        broken: PluginError | None = None
        several = zip(output.images, output.manifests, output.indices, strict=True)
        for index, (image, manifest, at) in enumerate(several):
            place = places[at]
            manifest.update(facts_of(output, index))
            if "finish" in manifest or python_inputs(manifest["inputs"]):
                manifest["command"] = {**self._call, "image": place}
            try:
                there = None if self._present is None else self._present.path_of(manifest)
                path = there or save_entry(
                    self._choices.out, self._writer, *entries[index], manifest
                )
            except PluginError as error:
                broken = broken or error
                continue
            except OSError as error:
                out = self._choices.out
                raise refused(f"no {noun(output.kind)} can be written to '{out}'", error) from None
            notes += self.notes()  # of the writer
            self._report(path, manifest, place, there is None, seconds, notes, image)
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
        data: Any = None,
    ) -> None:
        """Print where a picture is, and keep a small one for the sheet.

        Args:
            data: as a writer gets it; read from the file where None.
        """
        self.count += 1
        self.there += not made
        kind, choices = self._writer.kind, self._choices
        if data is None and (choices.sheet is not None or choices.frames_to is not None):
            data = read_data(path, kind, manifest)
        small = thumbnail(kind, data) if choices.sheet is not None else None
        if small is not None:
            self._small[place] = (small, caption(manifest))
        if choices.frames_to is not None and kind == "video":
            write_frames(data, choices.frames_to, path.stem, overwrite=choices.overwrite)
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
            **({} if self._writer.kind == "image" else self._of_time(manifest)),
            "warnings": notes,
        }
        typer.echo(json_text(record))

    def _of_time(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """What the record of a video or sound says beside that of a picture."""
        return {"kind": self._writer.kind, "rate": manifest.get(RATE)}

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
            join = contact_sheet if self._writer.kind == "image" else strip_sheet
            whole = join([small for small, _ in several], [name for _, name in several])
            self.notes()
            try:
                save_sheet(whole, sheet, overwrite=self._choices.overwrite)
            except OSError as error:
                raise refused(f"the contact sheet '{sheet}' cannot be written", error) from None
            print_line(f"contact sheet: {sheet.resolve()}", error=self._choices.json)

    def summary(self) -> str:
        """How many pictures are written, and where."""
        if self.count == 0:
            return f"no {noun(self._writer.kind)} of this run is in {self._choices.out} yet"
        are = "is" if self.count == 1 else "are"
        before = f", {self.there} of them from before" if self.there else ""
        several = noun(self._writer.kind, self.count)
        return f"{self.count} {several} {are} in {self._choices.out}{before}"

    def note(self) -> None:
        """Say how many pictures were there already, where some were."""
        if self.there:
            were = f"{noun(self._writer.kind, self.there)} {'was' if self.there == 1 else 'were'}"
            told = f"{self.there} {were} there already, and not made again"
            if seen := self._choices.seen:  # which is no note, as something asked for is not there
                other = "--out with another folder makes it all"
                say(f"warning: {told}, so that {' and '.join(seen)} did not see it form; {other}")
            elif not self._choices.quiet:
                say(f"note: {told}")

    def notes(self) -> list[str]:
        """Say the warnings since the last time."""
        words = [told(w.message, w.category, w.filename) for w in self._caught]
        self._caught.clear()
        notes = list(dict.fromkeys(text for text in words if text is not None))
        for note in notes:
            typer.echo(f"warning: {note}", err=True)
        return notes
