"""An audit hook that hears of what must never happen, says where it came from, and stops it.

It reads the interpreter's own audit events (PEP 578), so that no code under test can pass it by
another name. `arm` begins to listen, `disarm` gives what was heard.

Source: https://docs.python.org/3/library/audit_events.html
"""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).parents[2]
INSTALLED = tuple(
    {
        os.path.realpath(place)
        for place in (
            *(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib")),
            sysconfig.get_paths()["platlib"],
            sys.prefix,
            sys.base_prefix,
            *(ROOT / name for name in ("ldm_core", "plugins", "pipelines", "tests")),
        )
    }
    | {
        os.path.realpath(entry)
        for entry in sys.path
        if entry.endswith(("site-packages", "dist-packages"))
    }
)
"""Where the code of installed packages lies: what runs from there was not said by a file."""

GENERATORS = (
    "annotationlib.py",
    "ast.py",  # literal_eval, which makes a tree and runs nothing
    "attr/_make.py",
    "collections/__init__.py",  # namedtuple
    "dataclasses.py",
    "enum.py",
    "functools.py",
    "inspect.py",
    "numpy/f2py",
    "ldm_core/annotations.py",  # of installed functions
    "ldm_core/plugins/options.py",  # and those of plugins
    "pydantic/",
    "scipy/_lib",
    "sympy/",
    "torch/",
    "typing.py",
    "typing_extensions.py",
    "transformers/utils/import_utils.py",
)
"""Libraries' files that write code of their own making and run it: the origin decides, since what
they compile has no file."""
LAWFUL_STARTS = ("multiprocessing/",)
"""Who may start a process and read what it sends: a training's own workers."""
STARTS = {
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "pty.spawn",
    "subprocess.Popen",
}
CONNECTIONS = {
    "socket.bind",
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostbyaddr",
    "socket.gethostbyname",
    "socket.sendto",
}
CHANGES = {
    "os.chmod": (0,),
    "os.chown": (0,),
    "os.link": (1,),
    "os.mkdir": (0,),
    "os.mkfifo": (0,),
    "os.remove": (0,),
    "os.rename": (0, 1),
    "os.rmdir": (0,),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "os.utime": (0,),
    "shutil.chown": (0,),
    "shutil.copyfile": (1,),
    "shutil.copytree": (1,),
    "shutil.make_archive": (0,),
    "shutil.move": (0, 1),
    "shutil.rmtree": (0,),
    "shutil.unpack_archive": (1,),
}
"""Events of the file system, and which of their arguments are the paths that change."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
ROOM = "ldm-inputs-"
"""What the system's temporary folders are called in which a job keeps the pictures that lie in a
data set's rows, while it looks at them."""
DEVICES = ("/dev/null", "/dev/tty", "/dev/shm/", "/proc/self/", "pipe:", "/proc/")


class Stopped(PermissionError):
    """Something that must not happen, stopped before it did."""


class _Listener:
    def __init__(self) -> None:
        self.heard: list[str] = []
        self.folders: tuple[str, ...] = ()
        self.hidden: tuple[str, ...] = ()
        self.armed = False
        self.installed = False
        self.busy = False


_LISTENER = _Listener()


def install() -> None:
    """Put the hook into this interpreter, where it stays and sleeps."""
    if not _LISTENER.installed:
        _LISTENER.installed = True
        sys.addaudithook(_hear)


def arm(folders: Iterable[Path], hidden: Iterable[Path] = ()) -> None:
    """Begin to listen.

    Args:
        folders: where files may be written.
        hidden: folders that nothing has a reason to read.
    """
    _LISTENER.heard = []
    _LISTENER.folders = tuple(os.path.realpath(folder) for folder in folders)
    _LISTENER.hidden = tuple(os.path.realpath(folder) for folder in hidden)
    _LISTENER.armed = True


def disarm() -> list[str]:
    """Stop listening; what was heard, each thing once."""
    _LISTENER.armed = False
    return list(dict.fromkeys(_LISTENER.heard))


def say(what: str) -> None:
    """Add something that was heard by other means."""
    if _LISTENER.armed:
        _LISTENER.heard.append(what)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if not _LISTENER.armed or _LISTENER.busy:
        return
    _LISTENER.busy = True
    try:
        what = _fault(event, arguments)
    finally:
        _LISTENER.busy = False
    if what is not None:
        _LISTENER.heard.append(f"{what}, by {_origin()}")
        raise Stopped(1, f"stopped by the audit hook: {what}")


def _fault(event: str, arguments: tuple[Any, ...]) -> str | None:
    """What is wrong with an event; None where nothing is."""
    if event == "open":
        return _opens(*arguments[:3])
    if event == "exec":
        return _runs(arguments[0])
    if event == "compile":
        return _compiles(*arguments[:2])
    if event == "pickle.find_class":
        return f"unpickled {arguments[0]}.{arguments[1]}" if not _from(LAWFUL_STARTS) else None
    if event in STARTS:
        return None if _from(LAWFUL_STARTS) else f"started a process: {event} {arguments[:2]!r}"
    if event in CONNECTIONS:
        return None if _is_local(event, arguments) else f"connected: {event} {arguments[-1]!r}"
    if event in CHANGES:
        for number in CHANGES[event]:
            if number < len(arguments) and (path := _outside(arguments[number])):
                return f"changed {path} ({event})"
    return None


def _opens(path: Any, mode: Any, flags: Any) -> str | None:
    if not isinstance(path, str | bytes | os.PathLike):
        return None
    writes = bool(flags & WRITING) if isinstance(flags, int) else False
    if isinstance(mode, str):
        writes = writes or any(letter in mode for letter in "wax+")
    if writes:
        outside = _outside(path)
        return None if outside is None else f"opened {outside} for writing"
    if _LISTENER.hidden:
        real = os.path.realpath(os.fsdecode(path))
        if real.startswith(tuple(f"{folder}{os.sep}" for folder in _LISTENER.hidden)):
            return f"read {real}"
    return None


def _outside(path: Any) -> str | None:
    """The path in full where it is outside the folders that may be written; None where inside."""
    if not isinstance(path, str | bytes | os.PathLike):
        return None
    text = os.fsdecode(path)
    if text.startswith(DEVICES):
        return None
    # the last part is not followed: it is the name that changes
    head, tail = os.path.split(os.path.abspath(text))
    real = os.path.join(os.path.realpath(head), tail)
    followed = os.path.realpath(text)
    for folder in _LISTENER.folders:
        if _within(real, folder) and _within(followed, folder):
            return None
    if "__pycache__" in real and _within(real, *INSTALLED):
        return None
    if real.startswith(os.path.join(os.path.realpath(tempfile.gettempdir()), ROOM)):
        return None
    return real


def _within(path: str, *folders: str) -> bool:
    return any(path == folder or path.startswith(folder + os.sep) for folder in folders)


def _runs(code: Any) -> str | None:
    if not isinstance(code, CodeType):
        return None
    name = code.co_filename
    if name.startswith("<frozen ") or _within(os.path.realpath(name), *INSTALLED):
        return None
    return None if _from(GENERATORS) else f"ran code of {name!r}"


def _compiles(source: Any, name: Any) -> str | None:
    file = os.fsdecode(name) if isinstance(name, str | bytes) else ""
    if file and _within(os.path.realpath(file), *INSTALLED):
        return None
    if source is None and not file:  # a syntax tree, of which the origin is asked
        file = "<tree>"
    return None if _from(GENERATORS) else f"compiled {file!r}"


def _is_local(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether a socket stays between processes of this machine that multiprocessing started."""
    address = arguments[-1]
    return event in ("socket.bind", "socket.connect") and isinstance(address, str | bytes)


def _from(places: tuple[str, ...]) -> bool:
    """Whether the nearest caller that is no import machinery lies in one of these places."""
    frame = _caller()
    return frame is not None and any(place in _file(frame) for place in places)


def _caller() -> FrameType | None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and (
        frame.f_code.co_filename == __file__ or frame.f_code.co_filename.startswith("<frozen ")
    ):
        frame = frame.f_back
    return frame


def _file(frame: FrameType) -> str:
    return frame.f_code.co_filename.replace(os.sep, "/")


def _origin() -> str:
    """The nearest callers, those of this project among them."""
    frame, names = _caller(), []
    while frame is not None:
        file = _file(frame)
        ours = any(
            f"/{package}/" in file for package in ("ldm_core", "ldm_plugins", "ldm_pipelines")
        )
        if not names or ours:
            names.append(f"{'/'.join(file.split('/')[-2:])}:{frame.f_code.co_name}")
        if len(names) > 2:
            break
        frame = frame.f_back
    return " < ".join(names)
