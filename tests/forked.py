"""``ldm`` run in forks of one process that has imported everything once.

A fresh interpreter takes seconds to import torch; a fork of one that has takes milliseconds. What
is forked has no threads yet, and its signals are as a shell's.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any


class Server:
    """Forks runs of ``ldm``.

    Args:
        warm: commands that are run at the beginning, for what they import.
        cwd: where they are run.
        keep: models that they load are those of later runs too, which then cost little.
    """

    def __init__(self, warm: Sequence[Sequence[str]], cwd: Path, *, keep: bool = False) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-W",
                "ignore",
                "-W",
                "default::UserWarning",
                __file__,
                *(["keep"] if keep else []),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for words in warm:
            self.warm(words, cwd)

    def warm(self, words: Sequence[str], cwd: Path) -> None:
        """Run a command for what it imports, in no fork, with which that would end."""
        self._ask({"do": "warm", "argv": [*words], "cwd": str(cwd)})

    def start(
        self,
        argv: Sequence[str],
        cwd: Path,
        limits: dict[str, int] | None = None,
        environment: dict[str, str] | None = None,
        path: Sequence[Path] = (),
    ) -> int:
        """Begin a run; its process id. Its output goes to ``cwd``'s ``.out`` and ``.err`` files.

        Args:
            limits: of the run's resources, such as ``RLIMIT_FSIZE``; that of memory counts from
                what it has at its beginning.
            path: folders with packages that are installed for this run alone.
        """
        request = {
            "do": "start",
            "argv": [*map(str, argv)],
            "cwd": str(cwd),
            "limits": limits or {},
        }
        request |= {"environment": environment or {}, "path": [*map(str, path)]}
        return int(self._ask(request))

    def wait(self, pid: int) -> int:
        """A run's exit code, or the negative of the signal that ended it."""
        return int(self._ask({"do": "wait", "pid": pid}))

    def until(self, pid: int, seconds: float, also: Callable[[], bool] = lambda: True) -> float:
        """Wait until a run's main thread has computed for so long, and something else is so, or
        the run has ended, for which nobody has waited yet; for how long it has computed. Whatever
        else the machine does changes nothing of that."""
        while True:
            computed = int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            if state == "Z" or (computed >= seconds and also()):
                return computed
            time.sleep(0.001)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def output_of(cwd: Path, pid: int) -> tuple[str, str]:
    """The standard output and error of a run."""
    return tuple(  # type: ignore[return-value]
        (cwd.parent / f"{cwd.name}.{pid}{end}").read_text(errors="surrogateescape")
        for end in (".out", ".err")
    )


def has_loaded(cwd: Path, pid: int) -> bool:
    """Whether a run of a server that keeps models has loaded one."""
    return (cwd.parent / f"{cwd.name}.{pid}.loads").exists()


def _keep_models() -> None:
    from ldm_core.run import pipeline

    load, models = pipeline.load_model, {}

    def kept(composition: Any) -> Any:
        name = composition.info.source
        cwd = Path.cwd()
        (cwd.parent / f"{cwd.name}.{os.getpid()}.loads").touch()
        if name not in models:
            models[name] = load(composition)
        return models[name]

    pipeline.load_model = kept


def _serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        answer: Any = None
        match request["do"]:
            case "warm":
                answer = _run(request["argv"], request["cwd"])
                gc.collect()
                gc.freeze()  # or each fork's collections would copy the memory of all of it
            case "start":
                answer = _fork(request)
            case "wait":
                status = os.waitpid(request["pid"], 0)[1]
                answer = os.waitstatus_to_exitcode(status)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _fork(request: dict[str, Any]) -> int:
    # until its own program begins, an interrupt ends a fork, as it does any program of a shell
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    if pid:
        return pid
    cwd = Path(request["cwd"])
    stem = cwd.parent / f"{cwd.name}.{os.getpid()}"
    for number, end in ((1, ".out"), (2, ".err")):
        descriptor = os.open(f"{stem}{end}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, number)
        os.close(descriptor)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.environ.update(request["environment"])
    code = 70
    try:
        if request["path"]:
            _install(request["path"])
        for name, limit in request["limits"].items():
            if name == "RLIMIT_AS":
                pages = int(Path("/proc/self/statm").read_text().split()[0])
                limit += pages * resource.getpagesize()
            number = resource.__dict__[name]
            resource.setrlimit(number, (limit, resource.getrlimit(number)[1]))
        code = _run(request["argv"], request["cwd"])
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


def _install(folders: list[str]) -> None:
    from ldm_core.plugins.discovery import once

    sys.path[:0] = folders
    importlib.invalidate_caches()
    once.cache_clear()


def _run(argv: list[str], cwd: str) -> int:
    from ldm_core.cli import main

    for signum in (signal.SIGTERM, signal.SIGHUP):  # whatever started the tests ignores
        signal.signal(signum, signal.SIG_DFL)
    os.chdir(cwd)
    sys.argv = ["ldm", *argv]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0


if __name__ == "__main__":
    if "keep" in sys.argv:
        _keep_models()
    _serve()
