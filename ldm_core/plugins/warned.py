"""Whose a warning is that was given while a command ran, and whether a person is to hear of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from ldm_core.errors import LdmWarning
from ldm_core.plugins.blame import is_of_others, module_of
from ldm_core.plugins.discovery import is_listing
from ldm_core.plugins.registry import Plugin, installed


def told(message: Warning | str, category: type[Warning], filename: str) -> str | None:
    """The words of a warning for a person: ours as they are, those of a plugin's package with its
    name and version, as Python's filters let them through. None for what libraries warn of, which
    is heard elsewhere.

    Args:
        filename: of the code that is warned of.
    """
    if issubclass(category, LdmWarning):
        return str(message)
    for plugin, place in _places():
        file = Path(filename)
        if file == place or (place.name == "__init__.py" and place.parent in file.parents):
            package = f"the package {plugin.distribution} {plugin.version}"
            return f"{package} warns: {message} ({category.__name__})"
    return None


def _places() -> Iterator[tuple[Plugin, Path]]:
    """The plugins of other packages whose code is imported, and the files of their packages."""
    if is_listing():  # what is imported then is not known yet; Python says where it is
        return
    for plugin in installed().plugins:
        if not is_of_others(plugin):
            continue
        module = sys.modules.get(module_of(plugin).partition(".")[0])
        if module is not None and module.__file__ is not None:
            yield plugin, Path(module.__file__)
