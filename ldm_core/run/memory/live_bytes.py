"""The bytes that are alive while a program runs, counted on shapes alone."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

BLOCK = 64
"""Allocators round up to so many bytes at least."""


class Allocator:
    """What memory is taken for what is asked for; by itself, no more than that."""

    def block(self, size: int) -> int:
        """Bytes that a tensor of so many takes."""
        return -(-size // BLOCK) * BLOCK

    def keeps(self, size: int) -> bool:
        """Whether the memory of a block of so many bytes stays the program's once it is free, for
        the next ones."""
        return False

    def idle(self, size: int) -> int:
        """Bytes of such memory that stay the program's, of so many that are free."""
        return size

    def scratch(self, func: Any, args: Sequence[Any], made: Sequence[Tensor]) -> int:
        """Bytes that an operation takes while it lasts, beside what it is given and gives."""
        return 0


GRAINS = ("part", "layer", "two")
"""Of how many weights at a time can be brought to where is computed: all of a part, a layer, or a
layer and the one that comes meanwhile."""


@dataclass
class Peak:
    """The most that was alive at once while a part computed.

    Attributes:
        live: without weights.
        held: with the weights in whose layers was computed, by the grain.
    """

    live: int = 0
    held: dict[str, int] = field(default_factory=lambda: dict.fromkeys(GRAINS, 0))


@dataclass(frozen=True)
class Unit:
    """A weight's place: its part, and how many bytes are brought along with it, by the grain."""

    part: str
    held: Mapping[str, int]


class Moment(NamedTuple):
    """What an operation took, beside what was alive when the record began.

    Attributes:
        now: where it computed.
        live, kept: bytes that were alive, and those of them in memory that stays the program's.
        most_kept: the most of the latter until then.
        scratch: that it took while it lasted.
    """

    now: Unit
    live: int
    kept: int
    most_kept: int
    scratch: int


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what every operation makes for as long as it is alive, and the most there was at once
    while each part computed.

    Tensors may be on the device ``meta``, so that nothing is computed and nothing allocated. What
    is only known by its values, such as whether a mask masks anything, is taken to be so.

    Args:
        units: the place of each weight, by its storage; weights are not counted themselves.
        allocator: of the device.

    Attributes:
        peaks: by the part that computed last; ``""`` before any did.
    """

    def __init__(self, units: Mapping[int, Unit], allocator: Allocator) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._units = units
        self._allocator = allocator
        self._sizes: dict[int, int] = {}
        self._watched: dict[int, weakref.ref[Any]] = {}
        self._live = 0
        self._kept = 0  # bytes alive in memory that stays
        self._most_kept = 0
        self._now = Unit("", dict.fromkeys(GRAINS, 0))
        self._record: _Record | None = None
        self.peaks: dict[str, Peak] = {}

    @property
    def live(self) -> int:
        """Bytes that are alive now."""
        return self._live

    def elsewhere(self) -> None:
        """What comes now is computed in no part."""
        self._now = Unit("", dict.fromkeys(GRAINS, 0))

    def size_of(self, tensor: Tensor) -> int:
        """Bytes that are counted for a tensor's memory."""
        return self._sizes.get(key_of(tensor), 0)

    @contextmanager
    def recorded(self) -> Iterator[list[Moment]]:
        """What is computed meanwhile, for `count_again`."""
        outer, self._record = self._record, _Record(self._live, self._kept, self._kept)
        try:
            yield self._record.moments
        finally:
            self._record = outer

    def count_again(self, moments: Iterable[Moment]) -> None:
        """Count what was recorded before as if it were computed now; nothing of it stays alive."""
        live, kept = self._live, self._kept
        for moment in moments:
            self._now = moment.now
            self._live, self._kept = live + moment.live, kept + moment.kept
            self._most_kept = max(self._most_kept, kept + moment.most_kept)
            self._note(moment.scratch)
        self._live, self._kept = live, kept

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = kwargs or {}
        given = [leaf for leaf in tree_leaves((args, options)) if isinstance(leaf, Tensor)]
        if any(type(tensor) not in (Tensor, nn.Parameter) for tensor in given):
            return NotImplemented  # a subclass comes apart into plain ones, which come here again
        if func is torch.ops.aten._local_scalar_dense.default and args[0].is_meta:
            return True if args[0].dtype == torch.bool else 1
        result = func(*args, **options)
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        for tensor in made:
            self._count(tensor)
        for tensor in given:
            unit = self._units.get(key_of(tensor))
            if unit is not None:
                self._now = unit
                break
        self._note(self._allocator.scratch(func, args, made))
        return result

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._sizes or key in self._units:
            return
        size = self._allocator.block(storage.nbytes())
        self._sizes[key] = size
        self._live += size
        if self._allocator.keeps(size):
            self._kept += size
            self._most_kept = max(self._most_kept, self._kept)
            if self._record is not None:
                self._record.most_kept = max(self._record.most_kept, self._kept)
        self._watched[key] = weakref.ref(storage, lambda _: self._free(key))

    def _free(self, key: int) -> None:
        size = self._sizes.pop(key)
        self._live -= size
        if self._allocator.keeps(size):
            self._kept -= size
        del self._watched[key]

    def _note(self, scratch: int) -> None:
        if self._record is not None:
            self._record.add(self._now, self._live, self._kept, scratch)
        peak = self.peaks.setdefault(self._now.part, Peak())
        if self._allocator.keeps(scratch):
            self._most_kept = max(self._most_kept, self._kept + scratch)
            scratch = 0
        live = self._live + scratch + self._allocator.idle(self._most_kept - self._kept)
        peak.live = max(peak.live, live)
        for grain, size in self._now.held.items():
            peak.held[grain] = max(peak.held[grain], live + size)


@dataclass
class _Record:
    """What was alive when it began, the most that was kept since, and what was noted."""

    live: int
    kept: int
    most_kept: int
    moments: list[Moment] = field(default_factory=list)

    def add(self, now: Unit, live: int, kept: int, scratch: int) -> None:
        most = self.most_kept - self.kept
        self.moments.append(Moment(now, live - self.live, kept - self.kept, most, scratch))


def key_of(tensor: Tensor) -> int:
    """What tells a tensor's memory from others'."""
    key: int = tensor.untyped_storage()._cdata
    return key


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """What some tensors take, memory that they share once."""
    return sum({key_of(t): t.untyped_storage().nbytes() for t in tensors}.values())
