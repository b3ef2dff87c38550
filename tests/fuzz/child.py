"""One case run in this process, which a fork made for it, and judged."""

from __future__ import annotations

import functools
import importlib
import io
import os
import random
import shutil
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fuzz import hook
from fuzz.building import build
from fuzz.case import Case, placed
from fuzz.verdicts import Outcome, judge, message_of, snapshot

LONGEST = 4000
"""Characters of a text that are kept."""


def run_case(case: Case, shelf: Path) -> tuple[int | None, list[str], str]:
    """The exit code, the faults and the message of a case, which is run in a folder of its own."""
    top = Path(tempfile.mkdtemp(prefix="case-"))
    folder = top / "here"
    folder.mkdir()
    was = Path.cwd()
    try:
        try:
            build(placed(case.steps, shelf, folder), folder, shelf)
        except Exception as error:
            return None, [f"case: {type(error).__name__}: {error}"], ""
        os.chdir(folder)
        if case.call is not None:
            outcome = _api(placed(case.call, shelf, folder), folder, top, shelf)
        else:
            outcome = run_ldm(placed(case.argv, shelf, folder), folder, top)
        return outcome.code, judge(case, outcome, folder), message_of(outcome)
    finally:
        os.chdir(was)
        for path in (folder, *folder.rglob("*")):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o700)
        shutil.rmtree(top, ignore_errors=True)


def run_ldm(argv: list[str], folder: Path, top: Path) -> Outcome:
    """Run the command line in this process.

    Args:
        top: the folder that files may be written in, and `folder` inside it.
    """
    from ldm_core.cli import main

    def program() -> None:
        sys.argv = ["ldm", *argv]
        main()

    return _watched(program, folder, top)


def _api(table: dict[str, Any], folder: Path, top: Path, shelf: Path) -> Outcome:
    from fuzz.calls import call
    from ldm_core import LdmError

    def program() -> None:
        try:
            print(call(table, shelf))
        except LdmError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)

    return _watched(program, folder, top)


def _watched(program: Any, folder: Path, top: Path) -> Outcome:
    before, out, err = snapshot(folder), _stream(), _stream()
    random.seed(0)
    code, raised = 0, ""
    ended: int | None = 0
    base = _peak_from_now()
    with _put("stdout", out), _put("stderr", err), warnings.catch_warnings():
        cache = Path(os.environ.get("XDG_CACHE_HOME", top), "ldm")  # of compiled networks
        hook.arm([top, cache], [top / "outside"])
        try:
            program()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
            ended = code
        except BaseException as error:
            ended, raised = None, _words(error)
        finally:
            heard = hook.disarm()
    return Outcome(
        ended,
        _text(out),
        _text(err),
        raised,
        tuple(heard),
        before,
        snapshot(folder),
        max(0, _peak() - base),
    )


def _words(error: BaseException) -> str:
    """An exception, with the last places of the product and of all."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if any(f"/{p}/" in f.filename for p in _PACKAGES)]
    places = [*ours[-1:], *frames[-1:]]
    where = " < ".join(f"{'/'.join(f.filename.split('/')[-2:])}:{f.name}" for f in places)
    return f"{type(error).__name__}: {str(error)[:300]} [{where}]"


_PACKAGES = ("ldm_core", "ldm_plugins", "ldm_pipelines")


def _stream() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), "utf-8", "surrogateescape", write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    text = buffer.getvalue().decode("utf-8", "backslashreplace")
    return text if len(text) <= 2 * LONGEST else text[:LONGEST] + text[-LONGEST:]


@contextmanager
def _put(name: str, stream: Any) -> Iterator[None]:
    was = getattr(sys, name)
    setattr(sys, name, stream)
    try:
        yield
    finally:
        setattr(sys, name, was)


def _peak_from_now() -> int:
    """The process's memory, from which its peak is counted anew."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return _peak()
    return _peak()


def _peak() -> int:
    """Bytes of memory at most, since it was counted anew."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def quicken() -> None:
    """Keep what the command line makes anew for each command, since a process runs thousands."""
    import typer.main

    program: Any = importlib.import_module("ldm_core.cli.main")
    program.make_app = functools.cache(program.make_app)
    typer.main.get_command = functools.cache(typer.main.get_command)


def refuse_pickles() -> None:
    """Hear of `torch.load`, whose careful mode unpickles without the interpreter's notice."""
    import torch

    @functools.wraps(torch.load)
    def load(*_: Any, **__: Any) -> Any:
        hook.say("called torch.load")
        raise hook.Stopped(1, "stopped: torch.load")

    torch.load = load
