"""Components beside a model's own, read once for all the models that use them."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

from ldm_core.model.place import Place
from ldm_plugins.families.shared.diffusers_folder import read_component

KEPT = 8

_in_use: WeakValueDictionary[tuple[Any, ...], Any] = WeakValueDictionary()
_one_at_a_time = Lock()


class SharedComponents:
    """What one model reads from other folders, the latest few of which it keeps; weights go with
    the last model that has them."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._mine: OrderedDict[tuple[Any, ...], Any] = OrderedDict()

    def read(self, folder: Path, name: str) -> Any:
        """The component in a folder by the name of its class, frozen and in place."""
        files = [(file, file.stat()) for file in sorted(folder.glob("*.safetensors"))]
        stamps = tuple((file, about.st_size, about.st_mtime_ns) for file, about in files)
        key = (stamps, self._place)
        with _one_at_a_time:
            found = _in_use.get(key)
            if found is None:
                found = read_component(folder.parent, folder.name, name, self._place)
                _in_use[key] = found
            self._mine[key] = found
            self._mine.move_to_end(key)
            while len(self._mine) > KEPT:
                self._mine.popitem(last=False)
        return found
