"""What a plugin module may not change for its neighbours while it is imported is put back."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import ModuleType

HEAVY = ("torch", "diffusers", "transformers")
"""Packages that no listing should have to import."""
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class Surroundings:
    """What a process has while a plugin module is imported and asked.

    Attributes:
        changed: what the module changed, and was put back.
        heavy: the packages of `HEAVY` that were imported for it.
    """

    def __init__(self) -> None:
        self.changed: list[str] = []
        self.heavy: list[str] = []


@contextmanager
def kept() -> Iterator[Surroundings]:
    """Meanwhile a plugin's code runs; afterwards the environment, the working folder, the command
    line, the standard streams, how warnings are shown and signals heard, and the modules that were
    there are as they were."""
    seen = Surroundings()
    modules = dict(sys.modules)
    variables, arguments = dict(os.environ), list(sys.argv)
    streams = sys.stdin, sys.stdout, sys.stderr
    shown = warnings.showwarning, list(warnings.filters), sys.excepthook
    hooks = {n: signal.getsignal(signal.__dict__[n]) for n in SIGNALS if n in signal.__dict__}
    try:
        folder = os.getcwd()
    except OSError:  # it is gone
        folder = ""
    try:
        yield seen
    finally:
        seen.heavy = [name for name in HEAVY if name in sys.modules and name not in modules]
        if dict(os.environ) != variables:
            names = {n for n, v in variables.items() ^ os.environ.items()}
            seen.changed.append(f"the environment ({', '.join(sorted(names))})")
            os.environ.clear()
            os.environ.update(variables)
        if sys.argv != arguments:
            seen.changed.append("the command line's arguments")
            sys.argv = arguments
        if (sys.stdin, sys.stdout, sys.stderr) != streams:
            seen.changed.append("the standard streams")
            sys.stdin, sys.stdout, sys.stderr = streams
        if (warnings.showwarning, warnings.filters, sys.excepthook) != shown:
            seen.changed.append("how warnings and errors are shown")
            warnings.showwarning, sys.excepthook = shown[0], shown[2]
            warnings.filters[:] = shown[1]  # type: ignore[index]
            warnings._filters_mutated()  # type: ignore[attr-defined]
        _put_back_modules(modules, seen)
        _put_back_folder(folder, seen)
        if threading.current_thread() is threading.main_thread():
            for name, handler in hooks.items():
                number = signal.__dict__[name]
                if signal.getsignal(number) != handler and handler is not None:
                    seen.changed.append(f"what {name} does")
                    signal.signal(number, handler)


def _put_back_folder(folder: str, seen: Surroundings) -> None:
    with suppress(OSError):
        if folder and os.getcwd() != folder:
            seen.changed.append("the working folder")
            os.chdir(folder)


def _put_back_modules(modules: dict[str, ModuleType], seen: Surroundings) -> None:
    """Of modules that were there, those that another was put in the place of, or that are gone."""
    gone = [name for name, module in modules.items() if sys.modules.get(name) is not module]
    if gone:
        more = f" and {len(gone) - 3} others" if len(gone) > 3 else ""
        seen.changed.append(f"modules that others use ({', '.join(gone[:3])}{more})")
        sys.modules.update({name: modules[name] for name in gone})
