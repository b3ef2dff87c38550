"""What listing a package's plugins costs and changes, seen in a process of its own.

``python -m ldm_core.conformance.package.listing DISTRIBUTION`` prints it as JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import pluggy

from ldm_core.conformance.package.state import changes, state
from ldm_core.conformance.packages import Package, find_package
from ldm_core.plugins import hookspecs

HEAVY = (
    *("torch", "torchvision", "torchaudio", "tensorflow", "jax", "onnxruntime", "openvino"),
    *("diffusers", "transformers", "accelerate", "xformers", "peft", "torchao", "datasets"),
    *("scipy", "pandas", "matplotlib", "sklearn", "skimage", "cv2", "numba", "gradio"),
)
"""What takes long to import."""
LONG = 1.0
"""Seconds of a listing that is measured again."""
HOST = (
    "ldm_core.contracts",
    "ldm_core.numerics.moves",
    "ldm_core.numerics.grid",
    "ldm_core.plugins.options",
    "ldm_core.plugins.registry",
    "ldm_core.run.in_batches",
)
"""What the host has imported itself before it lists plugins, or imports to make one."""


@dataclass
class Listing:
    """What was seen.

    Attributes:
        cpu, wall: seconds that importing the plugin modules and calling their hooks took.
        heavy: what that imported of `HEAVY`.
        printed: to the standard output.
        error: what it raised, in a line; empty where nothing.
        changed: see `changes`.
        offers: kind, name and target of each plugin, as text; a target that is no text is empty.
        ended: it ended the process, or did not end, so that no other process should list it.
    """

    cpu: float = 0.0
    wall: float = 0.0
    heavy: list[str] = field(default_factory=list)
    printed: str = ""
    error: str = ""
    changed: dict[str, str] = field(default_factory=dict)
    offers: list[tuple[str, Any, str]] = field(default_factory=list)
    ended: bool = False


def list_here(package: Package) -> Listing:
    """Import a package's plugin modules and call their hooks, in this process."""
    seen, before = Listing(), state()
    cpu, wall = time.process_time(), time.perf_counter()
    imported = {*sys.modules}
    with output_to(seen):
        try:
            for entry in package.entries:
                module = importlib.import_module(entry.module)
                thing = module
                for name in entry.attr.split(".") if entry.attr else ():
                    thing = vars(thing)[name]
                seen.offers += offers_of(thing)
        except (Exception, SystemExit) as error:
            seen.error = f"{type(error).__name__}: {' '.join(str(error).split())}"
    seen.cpu, seen.wall = time.process_time() - cpu, time.perf_counter() - wall
    seen.heavy = [name for name in HEAVY if name in sys.modules and name not in imported]
    seen.changed = changes(before, state())
    return seen


def offers_of(module: Any) -> list[tuple[str, Any, str]]:
    """What a plugin module registers, whatever the names are."""
    manager = pluggy.PluginManager("ldm")
    manager.add_hookspecs(hookspecs)
    manager.register(module)
    manager.check_pending()
    offers: list[tuple[str, Any, str]] = []
    for kind, hook in hookspecs.KINDS.items():

        def register(name: Any, target: Any, kind: str = kind) -> None:
            said = name if isinstance(name, str) else None
            offers.append((kind, said, target if isinstance(target, str) else ""))

        manager.subset_hook_caller(hook, [])(register=register)

    def register_model(name: Any, folder: Any, made_for: Any) -> None:
        offers.append(("model", name if isinstance(name, str) else None, str(folder)))

    manager.subset_hook_caller("ldm_models", [])(register=register_model)
    return offers


@contextmanager
def output_to(seen: Listing) -> Iterator[None]:
    """Keep what goes to the standard output meanwhile, by whatever way."""
    sys.stdout.flush()
    with tempfile.TemporaryFile() as file:
        kept = os.dup(1)
        os.dup2(file.fileno(), 1)
        stream = sys.stdout
        try:
            with open(os.dup(1), "w", encoding="utf-8") as own:
                sys.stdout = own
                try:
                    yield
                finally:
                    if sys.stdout is own:
                        sys.stdout = stream
        finally:
            os.dup2(kept, 1)
            os.close(kept)
            file.seek(0)
            seen.printed += file.read().decode(errors="replace")


def fresh_listing(name: str, limit: float, environment: Mapping[str, str] | None = None) -> Listing:
    """What listing a package does in a process of its own.

    One that takes long is listed again, and the quicker time counts: the machine may be busy.

    Args:
        limit: seconds after which it is given up.
    """
    seen = _listed(name, limit, environment)
    if seen.wall > LONG and not seen.error:
        seen.wall = min(seen.wall, _listed(name, limit, environment).wall)
    return seen


def _listed(name: str, limit: float, environment: Mapping[str, str] | None) -> Listing:
    try:
        run = subprocess.run(  # noqa: S603 - this program itself
            [sys.executable, "-P", "-m", __name__, name],
            capture_output=True,
            text=True,
            timeout=limit,
            env=None if environment is None else dict(environment),
            check=False,
        )
    except subprocess.TimeoutExpired:
        said = f"it was not listed within {limit:g} seconds"
        return Listing(error=said, wall=limit, ended=True)
    lines = run.stdout.strip().splitlines()
    try:
        return Listing(**json.loads(lines[-1]))
    except (IndexError, ValueError, TypeError):
        last = (run.stderr.strip().splitlines() or [""])[-1]
        said = f"its listing ended the process with code {run.returncode} {last}"
        return Listing(error=said.rstrip(), ended=True)


def main() -> None:
    """Print what listing a package does."""
    for name in HOST:
        importlib.import_module(name)
    package = find_package(sys.argv[1])
    assert package is not None, sys.argv[1]
    out = os.dup(1)  # a plugin may close or replace the stream
    seen = list_here(package)
    os.write(out, ("\n" + json.dumps(asdict(seen)) + "\n").encode())
    os._exit(0)


if __name__ == "__main__":
    main()
