"""A process goes on as itself while a plugin's code runs in it, and with its own streams."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

STREAMS = ("stdin", "stdout", "stderr")
METHODS = ("write", "writelines", "flush", "close", "read", "readline", "isatty", "fileno")
"""What is called of a stream."""


def ends_where_forked(process: int) -> None:
    """End a process that another package's code forked of this one, where it would go on with our
    work, which would be done twice.

    Args:
        process: the one that called that code.
    """
    if os.getpid() != process:
        os._exit(0)


@contextmanager
def stays_itself() -> Iterator[None]:
    """Meanwhile `os._exit` raises a `SystemExit` in place of ending the process, and a process that
    is forked of this one ends where it would go on behind this: the work would be done twice."""
    end, own = os._exit, os.getpid()

    def ended(status: int) -> NoReturn:
        if os.getpid() != own:
            end(status)
        raise SystemExit(f"os._exit({status})")

    os._exit = ended
    try:
        yield
    finally:
        os._exit = end
        if os.getpid() != own:
            end(0)


@contextmanager
def unheard(changed: list[str]) -> Iterator[None]:
    """Meanwhile nothing is added that hears of all that Python does, as an audit hook, which can
    raise at each file that is opened, and can never be taken away.

    Args:
        changed: takes what was not added.
    """
    add = sys.addaudithook

    def refused(hook: Any) -> None:
        changed.append("what hears of all that Python does (an audit hook, which was not added)")

    sys.addaudithook = refused
    try:
        yield
    finally:
        sys.addaudithook = add


@contextmanager
def open_streams(changed: list[str]) -> Iterator[None]:
    """Afterwards the three standard streams are open again that were, and lead where they did.

    Args:
        changed: takes what was put back.
    """
    places = {number: place for number in range(3) if (place := place_of(number)) is not None}
    copies = {place: os.dup(number) for place, number in {p: n for n, p in places.items()}.items()}
    streams = [vars(sys)[name] for name in STREAMS]
    set_before = [own(stream) for stream in streams]
    open_before = [stream is not None and not stream.closed for stream in streams]
    try:
        yield
    finally:
        moved = [number for number, place in places.items() if place_of(number) != place]
        for number in moved:
            os.dup2(copies[places[number]], number)
        for copy in copies.values():
            os.close(copy)
        others = False
        for number, (name, stream) in enumerate(zip(STREAMS, streams, strict=True)):
            others = others or vars(sys)[name] is not stream
            others = restored(stream, set_before[number]) or others
            if open_before[number] and stream.closed:
                mode = "w" if number else "r"
                stream = open(number, mode, closefd=False, errors="backslashreplace")  # noqa: SIM115
                vars(sys)[f"__{name}__"] = stream
                others = True
            vars(sys)[name] = stream
        if moved or others:
            changed.append("the standard streams")


def own(stream: object) -> dict[str, Any]:
    """What is set on a stream itself, such as a ``write`` in place of that of its class."""
    try:
        return dict(vars(stream))
    except TypeError:  # nothing can be
        return {}


def restored(stream: object, before: dict[str, Any]) -> bool:
    """Whether something called otherwise was set on a stream since, which is taken away."""
    now = own(stream)
    false = [name for name in METHODS if now.get(name) is not before.get(name)]
    for name in false:
        if name in before:
            vars(stream)[name] = before[name]
        else:
            del vars(stream)[name]
    return bool(false)


def place_of(number: int) -> tuple[int, int] | None:
    """Which file a descriptor leads to; None where it is not open."""
    try:
        status = os.fstat(number)
    except OSError:
        return None
    return status.st_dev, status.st_ino
