"""A folder of labelled pictures, in the layout that the `datasets` library reads, as it is made."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Shown, Writer
from ldm_core.errors import LdmError, LdmNote, LdmWarning
from ldm_core.machine import refused
from ldm_core.media.held import LOCK
from ldm_core.media.json_text import json_text
from ldm_core.media.names import write_whole
from ldm_core.media.partial import PARTIAL, sweep
from ldm_core.media.picture_manifests import BESIDE
from ldm_core.media.present import same_manifest, state
from ldm_core.plugins.registry import installed

if TYPE_CHECKING:
    from ldm_core.run.output import Output

METADATA = "metadata.jsonl"


class DataSet:
    """The pictures of a data set, those that are there and those that are to come.

    Args:
        out: the folder.
        names: of the pictures' files in it, in their order.
        writer: of the files.
        lines: of metadata, by file name; None where the set has none.

    Attributes:
        whole: the names of those that need not be made.
    """

    def __init__(
        self,
        out: Path,
        names: Sequence[str],
        writer: Writer,
        lines: Mapping[str, str] | None = None,
    ) -> None:
        self.whole: set[str] = set()
        self._out = out
        self._names = names
        self._writer = writer
        self._lines = lines
        self._torn: set[str] = set()
        self._written = 0
        self._appends = False

    def check(self) -> None:
        """See that the folder holds a part of this data set, and nothing else.

        Raises:
            LdmError: it is no folder, or holds something else.
        """
        if not self._out.exists():
            return
        beside = (f"{name}{BESIDE}" for name in self._names)
        own = {*self._names, *beside, LOCK, *([METADATA] if self._lines is not None else [])}
        folders = {parent.as_posix() for name in own for parent in Path(name).parents}
        strange = not self._out.is_dir()
        for path in () if strange else self._out.rglob("*"):
            name = path.relative_to(self._out).as_posix()
            fits = name in (folders if path.is_dir() else own)
            strange = strange or not (fits or PARTIAL.fullmatch(path.name))
        if strange or not self._has_own_lines():
            raise LdmError(
                f"'{self._out}' is not a new or empty folder, and holds other things than a part "
                "of this data set, which would be mixed with them.",
                "what the same command began it goes on with; give another folder for another set.",
            )

    def has(self, name: str, manifest: Mapping[str, Any]) -> bool:
        """Whether a picture is there, by what its manifest would be.

        Raises:
            LdmError: another picture has its name, or it was changed since it was made.
        """
        path = self._out / name
        if not path.exists():
            return False
        what = state(path)
        if what == "torn":
            self._torn.add(name)
            warnings.warn(f"'{path}' is damaged, and is made again", LdmWarning, stacklevel=2)
            return False
        if what == "changed" or not same_manifest(path, manifest):
            why = "was changed after it was made" if what == "changed" else "is another picture"
            raise LdmError(
                f"'{path}' {why} than this data set has under that name, and is not overwritten.",
                "move it away, or give another folder.",
            )
        self.whole.add(name)
        return True

    def begin(self, *, first: bool, alone: bool) -> None:
        """Make the folder ready.

        Args:
            first: of several processes, this one does it.
            alone: there is one process, which writes a line of metadata with each picture.
        """
        self._appends = alone and self._lines is not None
        if first:
            for folder in {self._out, *((self._out / name).parent for name in self._names)}:
                sweep(folder)
            if self.whole and self._appends:
                self._write_lines(name for name in self._names if name in self.whole)

    def write(self, name: str, output: Output, index: int) -> None:
        """Write a picture of an output, and what belongs to it."""
        from ldm_core.run.entries import entry_of, facts_of

        path = self._out / name
        manifest = {**output.manifests[index], **facts_of(output, index)}
        shown, others = entry_of(self._writer, output, index, installed())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for writer, part in [*others, (self._writer, shown)]:
                self._write(path.with_suffix(writer.suffix), writer, part, manifest)
            if self._appends and self._lines is not None:
                with open(self._out / METADATA, "a", encoding="utf-8", opener=_opener) as file:
                    file.write(self._lines[name] + "\n")
        except OSError as error:
            raise refused(f"no picture can be written to '{path.parent}'", error) from None
        self._written += 1

    def _write(self, path: Path, writer: Writer, shown: Shown, manifest: Mapping[str, Any]) -> None:
        """Write a file, its manifest beside it where the format holds none."""
        again = any(path.with_suffix(Path(name).suffix) == self._out / name for name in self._torn)
        if not writer.holds(manifest):
            text = json_text(manifest, indent=2) + "\n"
            write_whole(
                path.with_name(f"{path.name}{BESIDE}"),
                lambda fresh: fresh.write_text(text, encoding="utf-8"),
                overwrite=again,
            )
        write_whole(path, lambda fresh: writer.write(shown, manifest, fresh), overwrite=again)

    def finish(self) -> None:
        """Write all lines of metadata, once all pictures are there that came out."""
        if self._lines is not None:
            self._write_lines(name for name in self._names if (self._out / name).exists())

    def summary(self) -> str:
        """How many pictures are there, as far as this process knows, and where."""
        count = len(self.whole) + self._written
        noun = "picture is" if count == 1 else "pictures are"
        before = f", {len(self.whole)} of them from before" if self.whole else ""
        return f"{count} {noun} in {self._out}{before}; the same command goes on from there"

    def note(self) -> None:
        """Say how many pictures were there already, where some were."""
        if self.whole:
            were = "picture was" if len(self.whole) == 1 else "pictures were"
            text = f"{len(self.whole)} {were} there already, and not made again"
            warnings.warn(text, LdmNote, stacklevel=2)

    def _write_lines(self, names: Iterator[str] | Sequence[str]) -> None:
        assert self._lines is not None
        text = "".join(f"{self._lines[name]}\n" for name in names)
        try:
            write_whole(
                self._out / METADATA, lambda path: path.write_text(text, "utf-8"), overwrite=True
            )
        except OSError as error:
            raise refused(f"'{self._out / METADATA}' cannot be written", error) from None

    def _has_own_lines(self) -> bool:
        """Whether the metadata, where there is some, has lines of this data set alone; what a kill
        or a full disk left of the last one counts too."""
        path = self._out / METADATA
        if self._lines is None or not path.is_file():
            return True
        try:
            *lines, last = path.read_text("utf-8").split("\n")
        except (OSError, UnicodeDecodeError):
            return False
        own = {*self._lines.values()}
        return own.issuperset(lines) and (not last or any(line.startswith(last) for line in own))


def _opener(path: str, flags: int) -> int:
    """Never by way of a symbolic link."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)
