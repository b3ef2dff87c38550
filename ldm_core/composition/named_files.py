"""Files that the options in a recipe name, in full, so that a manifest's recipe means the same in
every folder."""

from __future__ import annotations

from pathlib import Path

from ldm_core.composition.nested import changed_choices, only
from ldm_core.composition.recipe import Layer, is_ready_made
from ldm_core.contracts.files import (
    NAMES_FILE,
    READ,
    WRITTEN,
    in_full,
    is_there,
    parts_of,
    with_full_paths,
)
from ldm_core.errors import LdmError
from ldm_core.plugins.options import Option
from ldm_core.plugins.registry import Registry

KEY = "path"
"""Under which a table in an option names a file."""


def in_full_everywhere(layer: Layer, registry: Registry) -> Layer:
    """A layer whose choices of plugins name their files in full; ids of the Hub stay."""

    def full(kind: str, choice: Layer) -> Layer:
        plugin = only(registry, kind, choice["name"])
        options = {} if plugin is None else plugin.options
        return {
            name: with_full_paths(value, True, (KEY,), _lasting)
            if name in options and names_file(options[name]) and not is_ready_made(value)
            else value
            for name, value in choice.items()
        }

    return changed_choices(layer, registry, full)


def names_file(option: Option) -> bool:
    """Whether an option names a file, folder or model to read."""
    parts = parts_of(option.annotation)
    read = bool({NAMES_FILE, READ, Path} & parts) and WRITTEN not in parts
    return option.kind == "model" or read


def option_files(layer: Layer, registry: Registry) -> set[Path]:
    """The files and folders that options of a layer's plugins name, in full; what is no file here,
    such as an id of the Hub, is left out."""
    files: set[Path] = set()

    def take(name: str) -> str:
        if is_there(name):
            files.add(Path(in_full(name)))
        return name

    def look(kind: str, choice: Layer) -> Layer:
        for plugin in registry.named(choice["name"], kind):
            for name in plugin.options.keys() & choice.keys():
                if names_file(plugin.options[name]):
                    with_full_paths(choice[name], True, (KEY,), take)
        return choice

    changed_choices(layer, registry, look)
    return files


def _lasting(name: str) -> str:
    if not name:  # which would be the folder that one is in
        raise LdmError(
            "an option that names a file or folder has an empty text, which names none.",
            "leave the option out, or name one; '.' is the folder that you are in.",
        )
    return in_full(name) if is_there(name) else name
