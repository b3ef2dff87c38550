"""What a recipe or a call would read beside installed plugins and models: files, and repositories
of the Hub."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ldm_core.composition.full_recipe import saved_default
from ldm_core.composition.named_files import KEY
from ldm_core.composition.parts import choices_of
from ldm_core.composition.recipe import LISTS, Layer, read_recipe
from ldm_core.contracts.files import (
    NAMES_FILE,
    READ,
    WRITTEN,
    expanded,
    in_full,
    is_there,
    parts_of,
)
from ldm_core.model.files import MODEL_RECIPE
from ldm_core.model.hub import HubName, as_file, as_folder
from ldm_core.plugins.registry import Plugin, Registry


class Reach:
    """Takes in recipes and values; see that all is taken in before anything is read.

    Attributes:
        files: files and folders, in full, symbolic links followed.
        hub: what is named as a repository of the Hub.
        plugins: that recipes name.
        missing: plugins that are not installed, as kind and name.
    """

    def __init__(self, registry: Registry) -> None:
        self.files: set[Path] = set()
        self.hub: set[HubName] = set()
        self.plugins: set[Plugin] = set()
        self.missing: set[tuple[str, str]] = set()
        self._registry = registry
        self._models: set[Path] = set()

    def recipe(self, layer: Layer) -> None:
        """A recipe with its model, where it names one."""
        for key in ("model", "model_config"):
            if key in layer:
                self.model(layer[key])
        for folder in layer.get("components", {}).values():
            self.file(folder, as_folder)
        for entry in layer.get("loras", []):
            self.file(entry["path"], as_file)
        for key, choice in choices_of(layer):
            self._choice(LISTS.get(key, key), choice)

    def model(self, source: str) -> None:
        """A model by any name; see `own_recipes`."""
        if any(source in (m.name, f"{m.distribution}:{m.name}") for m in self._registry.models):
            return
        folder = self.file(source, as_folder)
        if folder is not None:
            self._models.add(folder)

    def file(self, source: str, as_hub: Callable[[str], HubName | None]) -> Path | None:
        """A file or folder, or else a repository; the path where it is there."""
        if is_there(source):
            path = Path(in_full(source))
            self.files.add(path)
            return path
        if (hub := as_hub(source)) is not None:
            self.hub.add(hub)
        return None

    def value(self, value: Any, annotation: Any = object) -> None:
        """The value of an option, argument or input.

        Args:
            annotation: its type, which may say that text in it names a file. Of other text, what
                leads to a file is taken for its name, so that nothing is read which was not
                declared.
        """
        parts = parts_of(annotation)
        names_file = bool({NAMES_FILE, READ, WRITTEN, Path} & parts)
        as_hub = _as_any if NAMES_FILE in parts else _as_none
        for key, text in _texts(value):
            if names_file and key in (None, KEY):
                self.file(text, as_hub)
            elif _leads_to_a_file(text):
                self.files.add(Path(in_full(text)))

    def own_recipes(self, folder: Path | None = None) -> bool:
        """Take in the recipes that lie in the folders of models, which are read for it.

        Args:
            folder: of the models in it alone.
        Returns:
            Whether there were any.
        """
        home = None if folder is None else folder.resolve()
        models = {path for path in self._models if home is None or lies_in(path, home)}
        self._models -= models
        files = [path / MODEL_RECIPE for path in models if is_there(path / MODEL_RECIPE)]
        for file in files:
            own = read_recipe(file)
            self.recipe({key: v for key, v in own.items() if key not in ("model", "model_config")})
        return bool(files)

    def outside(self, folder: Path) -> list[Path]:
        """The files that do not lie in a folder, and those to which symbolic links lead out of the
        folders in it. What is hidden in it, such as keys in a home folder, does not count as in."""
        home = folder.resolve()
        inside = {path for path in self.files if lies_in(path, home)}
        linked = {target for path in inside for target in linked_from(path)}
        return sorted(path for path in self.files | linked if not lies_in(path, home))

    def _choice(self, kind: str, choice: Layer) -> None:
        name = choice.get("name")
        plugins = self._registry.named(name, kind) if isinstance(name, str) else []
        options = {key: value for key, value in choice.items() if key != "name"}
        self.plugins.update(plugins)
        if isinstance(name, str) and not plugins:
            self.missing.add((kind, name))
        declared = plugins[0].options if len(plugins) == 1 else {}
        for key, value in options.items():
            option = declared.get(key)
            if option is not None and option.kind is None and saved_default(option) == value:
                continue  # which is the plugin's own word, whoever says it
            if option is None or option.kind is None:
                self.value(value, object if option is None else option.annotation)
            elif option.kind == "model":
                for source in value if isinstance(value, list | tuple) else [value]:
                    self.model(str(source))
            else:
                for entry in value if isinstance(value, list | tuple) else [value]:
                    if isinstance(entry, str | Mapping):
                        table = {"name": entry} if isinstance(entry, str) else dict(entry)
                        self._choice(option.kind, table)


def _texts(value: Any) -> Iterator[tuple[str | None, str]]:
    """Every text in a value, with the key of the table in which it lies."""
    pending: list[tuple[str | None, Any]] = [(None, value)]
    while pending:
        key, value = pending.pop()
        if isinstance(value, str | Path):
            yield key, str(value)
        elif isinstance(value, Mapping):
            pending += [(str(name), entry) for name, entry in value.items()]
        elif isinstance(value, list | tuple):
            pending += [(key, entry) for entry in value]


def _as_any(source: str) -> HubName | None:
    return as_folder(source) or as_file(source)


def _as_none(source: str) -> None:
    return None


def _leads_to_a_file(text: str) -> bool:
    """Whether text that is not declared as a file's name is one: of a file that is there, or that
    could be written there. A word such as a prompt's is not taken for a folder's name."""
    path = expanded(text)
    if os.sep not in text and not text.startswith("~"):
        return is_there(path) and path.is_file()
    return is_there(path) or bool(path.suffix and is_there(path.parent))


def lies_in(path: Path, home: Path) -> bool:
    """Whether a path is a folder or lies in it, and nothing between them is hidden."""
    if not path.is_relative_to(home):
        return False
    return not any(part.startswith(".") for part in path.relative_to(home).parts)


def linked_from(folder: Path) -> Iterator[Path]:
    """Where the symbolic links in a folder lead."""
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            if path.is_symlink():
                yield Path(in_full(path))
