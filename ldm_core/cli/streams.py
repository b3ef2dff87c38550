"""The standard output, of which it is told where it takes no more."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import NoReturn

from ldm_core.errors import MachineError


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


def open_streams() -> None:
    """Have the standard output raise `ClosedOutput`, and print names of files that are no Unicode.

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
    if stream is None:
        raw = io.FileIO(os.open(os.devnull, os.O_RDONLY), "w")  # which takes nothing
        _put(StandardOutput(io.BufferedWriter(raw), "utf-8"))
    elif stream is sys.__stdout__ and type(stream) is io.TextIOWrapper:
        encoding, lines = stream.encoding, stream.line_buffering
        _put(StandardOutput(stream.detach(), encoding, "surrogateescape", line_buffering=lines))
    elif isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="surrogateescape")


def _put(stream: StandardOutput) -> None:
    """Make it the standard output, also where Python flushes it at its end."""
    sys.stdout = stream
    sys.__stdout__ = stream  # type: ignore[misc]


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
