"""The folders that the page may read and write, and the models that it may load."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

from ldm_core.composition.reach import Reach, lies_in, linked_from
from ldm_core.composition.recipe import Layer
from ldm_core.contracts import Input
from ldm_core.contracts.files import expanded, is_there, parts_of
from ldm_core.errors import LdmError
from ldm_core.model.hub import as_file, as_folder
from ldm_core.model.modular_index import MODULAR_INDEX
from ldm_core.plugins.registry import Registry

INDEXES = ("model_index.json", MODULAR_INDEX)
DEEP = 3
"""Folders below one that is given, in which models are looked for."""
TEXT = {str, str | None, NoneType}
"""What an input is made of whose text names no file."""
GIVEN = "given"
"""The folder below that for pictures in which those lie that were dropped on the page."""
HOW = "name the folder with --folder, or that of a model with --models, where the page is started."


@dataclass(frozen=True)
class Folders:
    """What the page may reach; all paths in full, links followed.

    Attributes:
        read: folders whose files may be inputs.
        models: folders in which models lie.
        out: the folder for pictures, which may be read too.
        hub: names of the Hub may be given.
    """

    read: tuple[Path, ...]
    models: tuple[Path, ...]
    out: Path
    hub: bool = False

    @classmethod
    def of(
        cls, read: Iterable[Path], models: Iterable[Path], out: Path, hub: bool = False
    ) -> Folders:
        """Folders as a person names them.

        Raises:
            LdmError: one of them is none.
        """
        several = [[_folder(path) for path in paths] for paths in (read, models)]
        return cls(tuple(several[0]), tuple(several[1]), _full(expanded(out)), hub)

    @property
    def all(self) -> tuple[Path, ...]:
        return (*self.read, self.out, *self.models)

    def file(self, text: str) -> Path:
        """A file that a person names on the page, in full; a path that is not from the root begins
        in the first folder that has it.

        Raises:
            LdmError: there is none in the folders; whether there is one elsewhere is not told.
        """
        named = Path(text.strip())
        for home in self.all:
            try:
                path = _full(home / named)
            except (OSError, ValueError):
                continue
            if lies_in(path, home) and is_there(path):
                return path
        raise LdmError(f"there is no '{text.strip()[:200]}' in the folders of this page.", HOW)

    def named(self, text: str) -> str:
        """What an option or input names that is a file, in full, or a name of the Hub."""
        hub = as_folder(text) or as_file(text)
        if self.hub and hub is not None and not Path(text).exists():
            return text
        return str(self.file(text))

    def has(self, path: Path) -> bool:
        """Whether a file or folder, and all to which links in it lead, lies in these."""
        if not any(lies_in(path, home) for home in self.all):
            return False
        return all(any(lies_in(to, home) for home in self.all) for to in linked_from(path))

    def check(
        self,
        layer: Layer,
        inputs: Mapping[str, Any],
        declared: Mapping[str, Input],
        registry: Registry,
    ) -> None:
        """See that a recipe and inputs name nothing outside the folders.

        Args:
            declared: the inputs of the model; text that is declared as text names no file.
        Raises:
            LdmError: they do. Nothing of it is read before.
        """
        if "model" in layer and layer["model"] not in self.model_names(registry):
            self._check_hub_name(str(layer["model"]))
        reach = Reach(registry)
        reach.recipe(layer)
        for name, value in inputs.items():
            one = declared.get(name)
            if one is None or parts_of(one.type) - TEXT:
                reach.value(value, object if one is None else one.type)
        self._check_reach(reach)
        while reach.own_recipes():
            self._check_reach(reach)

    def _check_reach(self, reach: Reach) -> None:
        if not all(map(self.has, reach.files)):
            raise LdmError("it names a file that lies in none of the folders of this page.", HOW)
        if reach.hub and not self.hub:
            names = ", ".join(sorted(map(str, reach.hub)))
            raise LdmError(
                f"{names[:200]} is of the Hub, which this page does not ask.",
                "`ldm ui --allow-hub` lets it.",
            )

    def _check_hub_name(self, name: str) -> None:
        if self.hub and as_folder(name) is not None and not Path(name).exists():
            return
        raise LdmError(
            f"'{name[:200]}' is none of the models of this page.",
            "`ldm ui --models FOLDER` gives it those in a folder.",
        )

    def model_names(self, registry: Registry) -> list[str]:
        """The names of shipped models, and the paths of those that lie in the folders of models."""
        counts: dict[str, int] = {}
        for model in registry.models:
            counts[model.name] = counts.get(model.name, 0) + 1
        names = [m.name if counts[m.name] == 1 else m.id for m in registry.models]
        return names + [str(path) for home in self.models for path in self._models(home, DEEP)]

    def _models(self, folder: Path, deep: int) -> Iterator[Path]:
        if any((folder / name).is_file() for name in INDEXES):
            yield folder
            return
        try:
            entries = sorted(folder.iterdir())
        except OSError:
            return
        for entry in entries:
            if entry.name.startswith(".") or (entry.is_symlink() and not self._stays(entry)):
                continue
            if entry.is_dir() and deep:
                yield from self._models(entry, deep - 1)
            elif entry.suffix == ".safetensors" and entry.is_file():
                yield entry

    def _stays(self, link: Path) -> bool:
        return any(lies_in(_full(link), home) for home in self.models)


def _folder(path: Path) -> Path:
    full = _full(expanded(path))
    if not full.is_dir():
        raise LdmError(
            f"'{path}' is no folder.", "--folder and --models name folders that are there."
        )
    return full


def _full(path: Path) -> Path:
    return Path(os.path.realpath(path))
