"""``--engine ray``: the processes of a job as Ray's actors, on one machine or many.

Each actor runs the command that a process of ``--workers`` runs, and they share the job's folder
alone, which all machines see under one path; Ray says where they run, and on which GPU. Where none
is named by ``RAY_ADDRESS``, Ray is started on this machine for the time of the job.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ldm_core.errors import LdmError
from ldm_core.jobs.processes import Ended, Said, environment

REPLACED = 3
"""So often, for each actor that is asked for, another takes the place of one that died."""
PATIENCE = 60.0
"""Seconds without a place for any actor, until that is said."""
HANDED_ON = ("LDM_", "HF_", "ACCELERATE_", "PYTHONPATH", "OMP_WAIT_POLICY", "TOKENIZERS_")
"""How variables begin that the actors' processes get as they are here."""
OF_RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""What Ray is started with: it tells nobody, and leaves the GPUs that are hidden hidden."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)
OBJECTS = 128 << 20
"""Bytes of Ray's store on this machine, through which the lines pass that are printed."""


def check_installed() -> None:
    """See that Ray is there.

    Raises:
        LdmError: it is not.
    """
    if find_spec("ray") is None:
        raise LdmError(
            "--engine ray needs the package ray: pip install 'ldm-core[ray]'.",
            "--workers N starts processes on this machine without it.",
        )


class Host:
    """What an actor does: it runs a process, and says what that prints."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def run(
        self, arguments: Sequence[str], folder: str, variables: Mapping[str, str], place: Any
    ) -> Iterator[tuple[str, bool] | int]:
        """Lines that a process prints, each with whether it is an error's, and its exit code.

        Args:
            arguments: of the command line.
            folder: that it is run in.
            variables: of its environment, over that of the actor.
            place: its number, how many there are, and the ledger's size, as of `environment`.
        """
        lines: queue.Queue[tuple[str, bool] | int] = queue.Queue()
        number, count, since = place
        alone = bool(os.environ.get("CUDA_VISIBLE_DEVICES"))  # a GPU that Ray gave this actor
        process = subprocess.Popen(  # noqa: S603 - the command that the driver runs itself
            [sys.executable, "-P", "-m", "ldm_core", *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=environment({**os.environ, **variables}, number, count, since, alone),
            start_new_session=True,
        )
        self._process = process

        def read(stream: Any, error: bool) -> None:
            for line in stream:
                lines.put((line.rstrip("\n"), error))

        def wait() -> None:
            readers = [
                threading.Thread(target=read, args=(process.stdout, False)),
                threading.Thread(target=read, args=(process.stderr, True)),
            ]
            for reader in readers:
                reader.start()
            for reader in readers:
                reader.join()
            lines.put(process.wait())

        threading.Thread(target=wait, daemon=True).start()
        while not isinstance(line := lines.get(), int):
            yield line
        yield line

    def send(self, signum: int) -> None:
        """Send the process a signal. Ray blocks SIGINT in what it starts; SIGTERM asks the same."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM if signum == signal.SIGINT else signum)


class RayWorkers:
    """Actors that make a job, as `Workers` are processes that do.

    Args:
        arguments: of the command line.
        count: how many; where None, one for each GPU, and a single one without any.
        since: the size of the ledger.
    Raises:
        LdmError: Ray is not installed, or cannot be started or reached.
    """

    def __init__(self, arguments: Sequence[str], count: int | None, since: int) -> None:
        self._events: queue.Queue[Said | Ended | None] = queue.Queue()
        self._arguments = list(arguments)
        self._since = since
        self._ray, self._own = _started(count)
        try:
            gpus = int(self._ray.cluster_resources().get("GPU", 0))
            self._count = count or max(gpus, 1)
            needs = {"num_gpus": 1} if gpus else {"num_cpus": 1}
            self._class = self._ray.remote(Host).options(max_concurrency=2, **needs)
            self._actors: dict[int, Any] = {}
            self.codes: dict[int, int] = {}
            self._begun: set[int] = set()
            self._stopped = False
            self._left = REPLACED * self._count
            for number in range(1, self._count + 1):
                self._start(number)
        except BaseException:
            self._close()
            raise

    def events(self, seconds: float) -> Iterator[Said | Ended | None]:
        """As of `Workers`. Actors that Ray has no place for are not waited for once the others have
        ended."""
        since = time.monotonic()
        while len(self.codes) < self._count:
            try:
                event = self._events.get(timeout=seconds)
            except queue.Empty:
                event = None
                if not self._begun and time.monotonic() - since > PATIENCE:
                    since = float("inf")
                    yield Said(
                        "note: Ray has had no place for an actor yet; it is waited for", True
                    )
            if isinstance(event, Ended):
                self.codes[event.number] = event.code
            yield event
            if self._begun and self._begun <= self.codes.keys() and self._waiting_is_vain:
                break
        self._close()

    def send(self, signum: int) -> None:
        """Send a signal to the process of each actor."""
        self._stopped = True
        for number, actor in self._actors.items():
            if number in self._begun:
                actor.send.remote(signum)
            else:
                self._ray.kill(actor)

    def end(self) -> None:
        """End all, at once."""
        self._stopped = True
        for number in self._begun - self.codes.keys():
            with suppress(Exception):
                self._ray.get(self._actors[number].send.remote(signal.SIGKILL), timeout=5)
        self._close()

    @property
    def _waiting_is_vain(self) -> bool:
        """Whether a process came to its own end, after which nothing is left to make."""
        return self._stopped or any(code >= 0 for code in self.codes.values())

    def _start(self, number: int) -> None:
        actor = self._actors[number] = self._class.remote()
        thread = threading.Thread(target=self._hear, args=(number, actor), daemon=True)
        thread.start()

    def _hear(self, number: int, actor: Any) -> None:
        """Hand on what an actor's process says; where one of the two dies, another is started."""
        code = -signal.SIGKILL
        why = "its actor died"
        try:
            place = (number - 1, self._count, self._since)
            run = actor.run.options(num_returns="streaming")
            for reference in run.remote(self._arguments, os.getcwd(), _variables(), place):
                said = self._ray.get(reference)
                self._begun.add(number)
                if isinstance(said, int):
                    code = said
                else:
                    self._events.put(Said(*said))
        except Exception as error:  # of the actor, of its task, or of a cluster that is gone
            lines = str(error).splitlines() or [type(error).__name__]
            why = f"its actor died ({lines[0].rstrip('.')})"
        else:
            if code < 0:
                why = f"its process was ended by {signal.Signals(-code).name}"
        if code < 0 and not self._stopped and self._left > 0:
            self._left -= 1
            self._events.put(Said(f"note: worker {number}: {why}; another takes its place", True))
            with suppress(Exception):
                self._ray.kill(actor)
            self._start(number)
            return
        self._begun.add(number)
        left = len(self._begun - self.codes.keys()) - 1
        self._events.put(Ended(number, code, left))

    def _close(self) -> None:
        self._stopped = True
        if self._own:
            self._ray.shutdown()
        else:
            for actor in self._actors.values():
                with suppress(Exception):
                    self._ray.kill(actor)


def _started(count: int | None) -> tuple[Any, bool]:
    """Ray, and whether it is this process's own to end."""
    check_installed()
    import ray

    if ray.is_initialized():
        return ray, False
    address = os.environ.get("RAY_ADDRESS")
    local: dict[str, Any] = {"include_dashboard": False, "object_store_memory": OBJECTS}
    if count is not None:
        local["num_cpus"] = max(count, len(os.sched_getaffinity(0)))
    try:
        with _quiet():
            ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                **({} if address else local),
            )
    except Exception as error:
        raise LdmError(
            f"Ray cannot be {'reached' if address else 'started'}: {str(error).splitlines()[0]}",
            "RAY_ADDRESS names a cluster; without it, one is started on this machine.",
        ) from error
    return ray, True


@contextmanager
def _quiet() -> Iterator[None]:
    """Have Ray be started with our settings, and leave our signals and the environment alone."""
    main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    before = {name: os.environ.get(name) for name in OF_RAY}
    os.environ.update(OF_RAY)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        for number, handler in handlers.items() if main else ():
            signal.signal(number, handler)


def _variables() -> dict[str, str]:
    """Of the environment, what the processes are to have too."""
    handed = {name: value for name, value in os.environ.items() if name.startswith(HANDED_ON)}
    if path := handed.get("PYTHONPATH"):
        folders = [str(Path(entry).absolute()) for entry in path.split(os.pathsep) if entry]
        handed["PYTHONPATH"] = os.pathsep.join(folders)
    return handed
