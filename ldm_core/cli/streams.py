"""The standard output, which belongs to results, and of which it is told where it takes no more.

What the commands print themselves, through typer, click and rich too, are results. Whatever else
is printed meanwhile, by a plugin, a library or what a library is written in, goes to the standard
error stream: in Python by who prints, and beneath it because the descriptor of the standard output
is that of the standard error stream while the program runs.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn, TextIO

from ldm_core.errors import MachineError

OURS = frozenset({"ldm_core", "ldm_plugins", "ldm_pipelines", "__main__"})
"""Packages that print results, and the program that the commands are run in."""
QUIET = (
    *("ldm_core.run.", "ldm_core.composition.", "ldm_core.plugins.", "ldm_core.contracts."),
    "ldm_core.cli.commands",
)
"""Rooms of ours that print nothing: what is printed from there is the word of a function that is
written in no Python, such as ``print`` itself, which a plugin gave them to call."""
HELPERS = frozenset({"click", "typer", "rich", "contextlib", __name__})
"""Packages that print for others, whose words they are."""


class ClosedOutput(MachineError):
    """The standard output takes no more.

    Attributes:
        left: who read it has gone, as ``head`` does, which is nothing to complain of by itself.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(f"the standard output takes no more: {error.strerror}.")
        self.left = error.errno == errno.EPIPE


class StandardOutput(io.TextIOWrapper):
    """A standard output that raises `ClosedOutput` in place of the system's error."""

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._closed(error)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._closed(error)

    def _closed(self, error: OSError) -> NoReturn:
        # what is still to be written goes nowhere, so that it is complained of once
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
        raise ClosedOutput(error) from None


class Results(io.TextIOBase):
    """Stands in the place of the standard output: what the commands print goes there, and all else
    to the standard error stream.

    Args:
        output: the standard output.
    """

    def __init__(self, output: TextIO) -> None:
        super().__init__()
        self.output = output

    def write(self, text: str, /) -> int:
        stream = self._stream()
        if stream is self.output:
            return stream.write(text)
        try:
            written = stream.write(text)
            stream.flush()
        except (OSError, ValueError):  # it is closed, and nobody is to hear of it
            return len(text)
        return written

    def flush(self) -> None:
        self.output.flush()

    def isatty(self) -> bool:
        return self._stream().isatty()

    def fileno(self) -> int:
        return self._stream().fileno()

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        """Nothing: others may print after whoever closes it."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.output.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self.output.errors

    @property
    def buffer(self) -> Any:
        return self._stream().buffer

    def reconfigure(self, **_: Any) -> None:
        """Nothing: how results are written is not for others to say."""

    def _stream(self) -> TextIO:
        """Where what is printed now belongs."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            name = str(frame.f_globals.get("__name__"))
            top = name.partition(".")[0]
            if top not in HELPERS and name not in HELPERS:
                own = top in OURS and not name.startswith(QUIET)
                return self.output if own or sys.stderr is None else sys.stderr
            frame = frame.f_back
        return self.output


@contextmanager
def open_streams() -> Iterator[None]:
    """Keep the standard output for results, have it raise `ClosedOutput`, and print names of files
    that are no Unicode.

    A stream that was closed before the program began is opened again, so that no file takes its
    place: whatever wrote there by number would write into that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # the lowest free number is the one that is opened
            os.open(os.devnull, os.O_RDWR if number == 2 else os.O_RDONLY)
    if sys.stderr is None:
        sys.stderr = io.TextIOWrapper(io.FileIO(os.devnull, "w"), write_through=True)
    stream = sys.stdout
    if isinstance(stream, Results):
        _adopt(stream)
        yield
        return
    if stream is None:
        raw = io.FileIO(os.open(os.devnull, os.O_RDONLY), "w")  # which takes nothing
        sys.stdout = Results(StandardOutput(io.BufferedWriter(raw), "utf-8"))
    elif stream is sys.__stdout__ and type(stream) is io.TextIOWrapper:
        stream.flush()
        raw = io.FileIO(os.dup(stream.fileno()), "w")
        os.dup2(2, stream.fileno())
        sys.stdout = Results(
            StandardOutput(
                io.BufferedWriter(raw),
                stream.encoding,
                "surrogateescape",
                line_buffering=stream.line_buffering,
            )
        )
    else:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")
        sys.stdout = Results(stream)
        try:
            yield
        finally:
            sys.stdout = stream
        return
    yield


def _adopt(results: Results) -> None:
    """Have the results of another run in this process go where the standard output is now, where
    somebody changed that since."""
    if os.path.sameopenfile(1, 2):
        return
    results.flush()
    os.close(os.dup(1))  # which says it where no more can be opened
    os.dup2(1, results.output.fileno())
    os.dup2(2, 1)


def print_line(text: str, *, error: bool = False) -> None:
    """Print a line that holds a file's name, as it is; on a terminal, what would steer that is
    spelt out.

    Args:
        error: on the standard error stream.
    """
    stream = sys.stderr if error else sys.stdout
    if stream.isatty():
        text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    print(text, file=stream, flush=True)
