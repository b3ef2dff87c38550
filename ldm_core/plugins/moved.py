"""Modules that had other names in the hook API 1, which are found under both.

It goes with the release that `ldm_core.plugins.hookspecs.ENDS` names.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint
from importlib.util import find_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

from ldm_core.plugins.hookspecs import ENDS
from ldm_core.plugins.ownership import file_of

MOVED: Mapping[str, str] = {
    "ldm_core.abilities": "ldm_core.contracts.abilities",
    "ldm_core.chains": "ldm_core.run.chain",
    "ldm_core.denoiser": "ldm_core.run.denoiser",
    "ldm_core.family": "ldm_core.contracts",
    "ldm_core.grid": "ldm_core.numerics.grid",
    "ldm_core.lora": "ldm_core.model.lora",
    "ldm_core.manifest": "ldm_core.media.manifest",
    "ldm_core.modules": "ldm_core.model.modules",
    "ldm_core.noise_schedule": "ldm_core.numerics.noise_schedule",
    "ldm_core.pipeline": "ldm_core.run.pipeline",
    "ldm_core.point": "ldm_core.numerics.point",
    "ldm_core.prediction": "ldm_core.numerics.prediction",
    "ldm_core.seeded_noise": "ldm_core.numerics.seeded_noise",
    "ldm_core.steps": "ldm_core.numerics.moves",
    "ldm_core.stream": "ldm_core.run.stream",
    "ldm_core.trace": "ldm_core.conformance.trace",
}
"""Modules of hook API 1, each with where its names are now; they are found under both."""
RENAMED: Mapping[str, str] = {
    "DenoiserWrapper": "ldm_core.contracts.Wrapper",
    "Edit": "ldm_core.contracts.RunHooks, whose network(network) surrounds a function of a Call",
    "sees_latent_shape": "ldm_core.contracts.sees_latent, whose function takes a LatentShape: "
    "latent.places['height'] in place of latent_shape[1]",
}
"""Names of ``ldm_core.contracts`` of hook API 1, each with what takes its place."""


_found: dict[str, ModuleType] = {}


def is_moved(name: str, module: object) -> bool:
    """Whether a module is what is found by a name of hook API 1."""
    return _found.get(name) is module


class _Moved(Loader):
    """Makes a module of the names of another."""

    def __init__(self, home: str) -> None:
        self._home = home

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        gone = ENDS["hook API 1"].gone
        warnings.warn(
            f"{module.__name__} is {self._home} now, and found by this name until ldm-core {gone}.",
            DeprecationWarning,
            stacklevel=2,
        )
        for name, value in vars(import_module(self._home)).items():
            if not name.startswith("__"):
                setattr(module, name, value)
        _found[module.__name__] = module


class _Finder(MetaPathFinder):
    """Finds the modules in `MOVED`, once nothing else has found them."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> Any:
        home = MOVED.get(fullname)
        return None if home is None else spec_from_loader(fullname, _Moved(home))


def find_moved() -> None:
    """From now on find modules under the names that they had."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())


def explained(error: BaseException, entry: EntryPoint) -> str:
    """What is to change in a module that could not be imported for want of a name that was there in
    hook API 1; empty where that is not why.

    Args:
        entry: names the module.
    """
    if not (isinstance(error, ImportError) and (error.name or "").startswith("ldm_core")):
        return ""
    module = entry.value.partition(":")[0]
    try:
        spec = find_spec(module)
    except Exception:  # a package around it that fails by itself
        return ""
    if spec is None or spec.origin is None:
        return ""
    changes = list(_changes(_sources(Path(spec.origin), module)))
    return f". Of the hook API 1, to change: {'; '.join(changes)}" if changes else ""


def imports_to_change(module: object) -> Iterator[str]:
    """What is to change in the imports of a module and of the package around it."""
    if isinstance(module, ModuleType) and (file := file_of(module)) is not None:
        yield from _changes(_sources(file, module.__name__))


def _sources(file: Path, module: str) -> Sequence[Path]:
    """The files of the package around a module."""
    depth = module.count(".") + (file.name == "__init__.py")
    return sorted(file.parents[depth - 1].rglob("*.py")) if depth else [file]


def _changes(files: Sequence[Path]) -> Iterator[str]:
    """Imports of names that have moved, each with what takes its place."""
    import ast

    seen: dict[str, None] = {}
    for file in files:
        try:
            tree = ast.parse(file.read_bytes())
        except (OSError, SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                own = [alias.name for alias in node.names]
                names = [node.module, *(f"{node.module}.{name}" for name in own)]
                if node.module == "ldm_core.contracts":
                    seen |= {f"{n} is {RENAMED[n]}": None for n in own if n in RENAMED}
            else:
                continue
            seen |= {f"{MOVED[n]} is what {n} was": None for n in names if n in MOVED}
    yield from seen
