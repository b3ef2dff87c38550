"""A new package: its files, and the commands that come next."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ldm_core.errors import LdmError, did_you_mean
from ldm_core.machine import refused
from ldm_core.plugins.registry import Registry
from ldm_core.scaffold.kinds import STARTERS, WORDS, Starter
from ldm_core.scaffold.names import Names, check_free, names_of
from ldm_core.scaffold.texts import TEMPLATE, draw, plugin_module, pyproject, readme

PLAIN = (
    ".github/workflows/tests.yml",
    ".gitignore",
    "LICENSE",
    "ruff.toml",
    "tests/test_plugins.py",
    "ldm_mine/__init__.py",
    "ldm_mine/py.typed",
)
"""Files of the template that every package has."""


@dataclass(frozen=True)
class NewPackage:
    """A package that was written.

    Attributes:
        folder: where it lies.
        kinds: of its plugins, in the order of the hooks.
        commands: what a person does next, in order.
    """

    folder: Path
    names: Names
    kinds: tuple[str, ...]
    commands: tuple[str, ...]


def kinds_of(words: Sequence[str]) -> tuple[str, ...]:
    """The kinds that a person asked for, each once, in the order of the hooks.

    Args:
        words: kinds, or several with commas between; a wrapper is a denoiser.
    Raises:
        LdmError: there are none, or one is no kind.
    """
    named = [kind.strip() for word in words for kind in word.split(",")]
    kinds = [WORDS.get(kind, kind) for kind in named]
    listed = f"There are {', '.join(STARTERS)}."
    if not kinds:
        raise LdmError(f"say what the package is to offer, as --kind scheduler. {listed}")
    for kind in kinds:
        if kind not in STARTERS:
            raise LdmError(
                f"no kind of plugin named '{kind}'.{did_you_mean(kind, STARTERS)} {listed}"
            )
    return tuple(kind for kind in STARTERS if kind in kinds)


def new_package(
    name: str, kinds: Sequence[str], parent: Path, registry: Registry, commands: Sequence[str] = ()
) -> NewPackage:
    """Write a package with a plugin of each kind, which works as it stands.

    Args:
        name: of the distribution; so is its folder called.
        parent: the folder that is to hold it; made where it is not there.
        registry: what is installed, which may not have the same names.
        commands: those of ``ldm`` that are there.
    Raises:
        LdmError: the name cannot be used, or something lies there already.
        MachineError: the folder cannot be made.
    """
    names, chosen = names_of(name), kinds_of(kinds)
    starters = {kind: STARTERS[kind] for kind in chosen}
    models = [s.model.format(name=names.plugin) for s in starters.values() if s.model]
    check_free(names, chosen, models, registry)
    if "command" in chosen and names.plugin in commands:
        raise LdmError(f"there is a command `ldm {names.plugin}` already; choose another name.")
    folder = parent / names.distribution
    if os.path.lexists(folder):
        raise LdmError(f"'{folder}' is there already; nothing is written over.")
    copied = {f"models/{s.folder}": _installed(s, registry) for s in starters.values() if s.copied}
    texts = {
        "pyproject.toml": pyproject(names, starters),
        "README.md": readme(names, starters),
        "ldm_mine/plugin.py": plugin_module(names, starters),
    }
    files = [*PLAIN]
    for starter in starters.values():
        files += starter.also
        if starter.target:
            files.append(f"ldm_mine/{starter.target.partition(':')[0]}.py")
    _make(parent)
    with tempfile.TemporaryDirectory(prefix=f".{names.distribution}-", dir=parent) as scratch:
        whole = Path(scratch) / names.distribution
        for file in files:
            _write(whole / _renamed(file, names), (TEMPLATE / file).read_bytes(), names)
        for file, text in texts.items():
            _write(whole / _renamed(file, names), text.encode(), names)
        for place, source in copied.items():
            shutil.copytree(source, whole / names.module / place)
        whole.rename(folder)  # all of it or nothing
    return NewPackage(folder, names, chosen, _next(folder, names, starters))


def _make(parent: Path) -> None:
    """The folder that is to hold the package's own.

    Raises:
        LdmError: a file is in its place.
        MachineError: it cannot be made.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise LdmError(f"no folder can be made in '{parent}': {error.strerror}.") from None
    except OSError as error:
        raise refused(f"the folder '{parent}' cannot be made", error) from None


def _installed(starter: Starter, registry: Registry) -> Path:
    """The folder of the model that one begins as."""
    distribution, _, name = starter.copied.partition(":")
    for model in registry.models:
        if (model.distribution, model.name) == (distribution, name):
            return model.folder
    raise LdmError(f"a model begins as a copy of '{starter.copied}', which is not installed.")


def _write(path: Path, data: bytes, names: Names) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = path.suffix not in (".png", ".safetensors")
    path.write_bytes(_renamed(data.decode(), names).encode() if text else data)


def _renamed(text: str, names: Names) -> str:
    """A text of the template with the package's own names."""
    for old, new in (
        ("ldm_mine", names.module),
        ("ldm-mine", names.distribution),
        ("MinePipeline", names.pipeline),
        ('"mine"', f'"{names.plugin}"'),
    ):
        text = text.replace(old, new)
    return text


def _next(folder: Path, names: Names, starters: Mapping[str, Starter]) -> tuple[str, ...]:
    """The commands that a person types next, in the folder where they are."""
    path = str(folder)
    install = path if os.path.isabs(path) else f"./{path}"
    draws = [draw(starter, names, shlex.quote(path)) for starter in starters.values()]
    check = f"ldm plugins check {names.distribution}"
    return (f"pip install -e {shlex.quote(install)}", check, *draws)
