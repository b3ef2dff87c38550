"""Checks in a process of their own: what ends it, or does not end, is a failure like any other."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

from ldm_core.conformance.checks import Result
from ldm_core.conformance.project_folder import is_folder, read_project
from ldm_core.conformance.time_limit import TimeLimit
from ldm_core.conformance.worker_order import Order
from ldm_core.errors import LdmError
from ldm_core.plugins.discovery import named_files

WORKER = (sys.executable, "-P", "-m", "ldm_core.conformance.worker")
LIMIT = 60.0
"""Seconds that one check may take."""
START = 60.0
"""Seconds more for the first: the process has to import everything."""


@dataclass(frozen=True)
class Place:
    """Where checks are made.

    Attributes:
        target: a distribution or a plugin's name.
        environment: of the process.
    """

    target: str
    environment: Mapping[str, str]
    paths: tuple[Path, ...] = ()


@contextmanager
def place_of(target: str) -> Iterator[Place]:
    """Where the checks of a distribution, a plugin's name, or a project's folder are made.

    Raises:
        LdmError: the folder offers no plugins.
    """
    with ExitStack() as stack:
        environment, before = dict(os.environ), os.environ.get("PYTHONPATH", "").split(os.pathsep)
        entries = [path for path in before if path]  # an empty one is the folder that it runs in
        environment["PYTHONPATH"] = os.pathsep.join(entries)
        if not is_folder(target):
            yield Place(target, environment)
            return
        project = read_project(Path(target))
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        paths = project.as_installed(scratch)
        environment["PYTHONPATH"] = os.pathsep.join([*map(str, paths), *entries])
        yield Place(project.name, environment, tuple(paths))


def run_checks(
    target: str,
    model: Path | None = None,
    limit: float = LIMIT,
    *,
    certificate: Path | None = None,
    certifying: bool = False,
    package_alone: bool = False,
) -> Iterator[Result]:
    """The result of every check of a distribution, a project's folder or a plugin's name, as they
    come, in an order that is always the same.

    Args:
        target: as `checks_of` has it, or a folder with a pyproject.toml.
        model: a model folder for the checks that need one.
        limit: seconds of the processor that one check may take, and of the clock where it does
            nothing.
        certificate: one to hold the package against in place of the one that it ships.
        certifying: the package's certificate is about to be written, and does not count.
        package_alone: the checks of the package as a whole, and not of its plugins.
    Raises:
        LdmError: there is no such target.
    """
    order = Order(
        target,
        None if model is None else str(model.absolute()),
        limit=limit,
        certificate=None if certificate is None else str(certificate.absolute()),
        certifying=certifying,
        package_alone=package_alone,
        files=tuple(map(str, named_files())),
    )
    with place_of(target) as place:
        results: list[Result] = []
        for result in _all(replace(order, target=place.target), place, limit):
            results.append(result)
            yield result
        if not certifying and not package_alone:
            yield from _certified(place, results, model, certificate)


def _all(order: Order, place: Place, limit: float) -> Iterator[Result]:
    """The results of as many processes as it takes."""
    begin: int | None = 0
    while begin is not None:
        begin = yield from _one_process(replace(order, begin=begin), place, limit)


def _certified(
    place: Place, results: list[Result], model: Path | None, file: Path | None
) -> Iterator[Result]:
    """What the certificate of a whole package says, held against its results."""
    from ldm_core.conformance.certificate import read_certificate
    from ldm_core.conformance.certified import held
    from ldm_core.conformance.packages import find_package

    package = find_package(place.target, place.paths)
    if package is None or (file := file or package.certificate()) is None:
        return
    with suppress(LdmError):  # the check of the certificate itself has said it
        yield held(read_certificate(file), results, model)


def _one_process(order: Order, place: Place, limit: float) -> Any:
    """The results of one process; the place of the check to go on with in another, or None."""
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(  # noqa: S603 - this program itself
            [*WORKER, json.dumps(asdict(order))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            env=dict(place.environment),
            start_new_session=True,
        )
        assert process.stdout is not None
        lines, time = _lines(process.stdout), TimeLimit(process.pid)
        under_way: tuple[int, Result] | None = None
        try:
            while True:
                first = under_way is None or under_way[0] < 0
                seconds = limit + (START + 2 * limit if first else 0)
                try:
                    line = lines.get(timeout=seconds)
                except queue.Empty:
                    if not time.is_over(seconds, seconds):
                        continue
                    reason = f"it did not end within {limit:g} seconds"
                    return (yield from _given_up(under_way, reason))
                if line is None:
                    code = process.wait()
                    if under_way is None:
                        raise LdmError(f"no check was made: {_last_line(complaints)}")
                    reason = f"it ended the process with {_ending(code)} {_last_line(complaints)}"
                    return (yield from _given_up(under_way, reason.rstrip()))
                time.begin()
                said = json.loads(line)
                if "error" in said:
                    raise LdmError(said["error"])
                if "done" in said:
                    return None
                if "begin" in said:
                    under_way = (said["begin"], Result(**said["result"]))
                elif "end" in said:
                    yield Result(**said["result"])
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _given_up(under_way: tuple[int, Result] | None, reason: str) -> Any:
    if under_way is None:
        raise LdmError(f"no check was made: {reason}")
    place, result = under_way
    if result.reason:  # as the package declares
        yield replace(result, outcome="expected", reason=f"{result.reason} ({reason})")
    else:
        yield replace(result, outcome="failed", reason=reason)
    return place + 1 if place >= 0 else None


def _lines(stream: IO[str]) -> queue.Queue[str | None]:
    """What a process says, line by line, as it comes; None at the end."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in stream:
            if line.startswith("{"):
                lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    return lines


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"code {code}"


def _last_line(stream: IO[bytes]) -> str:
    stream.seek(0)
    lines = stream.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip()[:200] if lines else ""
