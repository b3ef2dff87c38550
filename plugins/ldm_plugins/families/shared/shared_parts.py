"""Parts beside a model's own, read once for all the models that use them."""

from __future__ import annotations

from collections import OrderedDict
from functools import reduce
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

from ldm_core.contracts import Part, PartInfo, Place
from ldm_plugins.families.shared.component import read_part
from ldm_plugins.shared.stamps import stamps

KEPT = 8

_in_use: WeakValueDictionary[tuple[Any, ...], Part] = WeakValueDictionary()
_one_at_a_time = Lock()


class SharedParts:
    """What one model reads from other folders, the latest few of which it keeps; weights go with
    the last model that has them.

    They are shared as they were read: what the model's converters make of them, which shares their
    weights, is the model's own.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._mine: OrderedDict[tuple[Any, ...], tuple[Part, Part]] = OrderedDict()

    def read(self, folder: Path, cls: str) -> Part:
        """The component in a folder by the name of its class, in its place, and as the converters
        of the model's own parts make it."""
        place, info = self._place, PartInfo(folder.name, cls, "side")
        # where converters say how to read it, what they read is not shared
        reader = place.loading if place.loading(info) else None
        key = (cls, stamps(folder), place.device, place.reads_to(info), place.dtype, reader)
        with _one_at_a_time:
            pair = self._mine.get(key)
            if pair is None:
                part = _in_use.get(key)
                if part is None:
                    part = _in_use[key] = read_part(folder, info, place)
                pair = part, reduce(lambda other, convert: convert(other), place.later, part)
                self._mine[key] = pair
            self._mine.move_to_end(key)
            while len(self._mine) > KEPT:
                self._mine.popitem(last=False)
        return pair[1]
