"""A text ability that keeps what it encoded."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING

from ldm_core.contracts import Condition, Unequal, concatenate
from ldm_core.contracts.abilities import Span, TextAbility
from ldm_plugins.converters.shared.watched_weights import WatchedWeights

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn


Key = tuple[str | None, tuple[str, ...]]
"""A text, and hashes of the pictures that are encoded beside it."""


class Store:
    """Conditions of a single row by what they are of, the latest used of them in so many bytes; for
    all threads. None of them where the weights of what encodes have changed since."""

    def __init__(self, limit: int, encoders: Sequence[nn.Module] = ()) -> None:
        self._limit = limit
        self._encoders = encoders
        self._weights = WatchedWeights(encoders)
        self._rows: OrderedDict[Key, Condition] = OrderedDict()
        self._bytes = 0
        self._one_at_a_time = Lock()

    def follow(self) -> None:
        """Forget all that was made with other weights."""
        with self._one_at_a_time:
            if self._weights.changed:
                self._rows.clear()
                self._bytes = 0
                self._weights = WatchedWeights(self._encoders)

    def get(self, key: Key) -> Condition | None:
        with self._one_at_a_time:
            row = self._rows.get(key)
            if row is not None:
                self._rows.move_to_end(key)
            return row

    def add(self, key: Key, row: Condition) -> None:
        with self._one_at_a_time:
            if key in self._rows:
                return
            self._rows[key] = row
            self._bytes += _bytes(row)
            while self._bytes > self._limit:
                _, old = self._rows.popitem(last=False)
                self._bytes -= _bytes(old)


class KeptTexts(TextAbility):
    """
    Args:
        ability: what encodes.
        limit: how many bytes are kept.
        encoders: the modules that it encodes with.
        before: another such ability with the same encoders, whose store is used on.
    """

    def __init__(
        self,
        ability: TextAbility,
        limit: int,
        encoders: Sequence[nn.Module] = (),
        before: KeptTexts | None = None,
    ) -> None:
        self._ability = ability
        self._limit = limit
        self._encoders = encoders
        self._others: dict[tuple[str, int], KeptTexts] = {}
        self._store: Store = Store(limit, encoders) if before is None else before._store
        self.joins_windows = ability.joins_windows
        self.any_length = ability.any_length
        negative = ability.for_negative()
        self._negative: KeptTexts | None = None
        if negative is not ability:
            self._negative = KeptTexts(
                negative, limit, encoders, None if before is None else before._negative
            )
        self.reads_references = ability.reads_references

    def encode(self, texts: Sequence[str | None]) -> Condition | Unequal:
        def encode(unknown: Sequence[Key]) -> Condition | Unequal:
            return self._ability.encode([text for text, _ in unknown])

        return self._kept([(text, ()) for text in texts], encode)

    def encode_beside(
        self, texts: Sequence[str | None], references: Sequence[Sequence[Image]]
    ) -> Condition | Unequal:
        known: dict[int, str] = {}
        for picture in (one for pictures in references for one in pictures):
            known[id(picture)] = known.get(id(picture)) or _hash(picture)
        shown = [tuple([known[id(one)] for one in pictures]) for pictures in references]
        beside = dict(zip(shown, references, strict=True))

        def encode(unknown: Sequence[Key]) -> Condition | Unequal:
            return self._ability.encode_beside(
                [text for text, _ in unknown], [beside[pictures] for _, pictures in unknown]
            )

        return self._kept([*zip(texts, shown, strict=True)], encode)

    def _kept(
        self, keys: Sequence[Key], encode: Callable[[Sequence[Key]], Condition | Unequal]
    ) -> Condition | Unequal:
        self._store.follow()
        rows = {key: self._store.get(key) for key in keys}
        unknown = [key for key, row in rows.items() if row is None]
        if unknown:
            for key, states in zip(unknown, _single(encode(unknown), len(unknown)), strict=True):
                rows[key] = states
                self._store.add(key, states)
        each = tuple([row for key in keys if (row := rows[key]) is not None])
        if len({_shapes(row) for row in each}) > 1:
            return Unequal(each)
        return each[0] if len(each) == 1 else concatenate(each)

    def overflow(self, text: str) -> str:
        return self._ability.overflow(text)

    def for_negative(self) -> TextAbility:
        return self._negative or self

    def skipping(self, layers: int) -> TextAbility:
        return self._other(("skipping", layers), lambda: self._ability.skipping(layers))

    def windowed(self, length: int) -> TextAbility:
        return self._other(("windowed", length), lambda: self._ability.windowed(length))

    def _other(self, key: tuple[str, int], made: Callable[[], TextAbility]) -> KeptTexts:
        """What keeps the texts of another reading of the same encoders."""
        if key not in self._others:
            self._others[key] = KeptTexts(made(), self._limit, self._encoders)
        return self._others[key]

    def joined(self, conditions: Sequence[Condition]) -> Condition:
        return self._ability.joined(conditions)

    def tokens(self, text: str) -> Mapping[str, Sequence[Span]] | None:
        return self._ability.tokens(text)


def _single(states: Condition | Unequal, count: int) -> list[Condition]:
    """The condition of each of so many rows, in memory of its own."""
    if isinstance(states, Unequal):
        return list(states.each)
    return [{key: value[i : i + 1].clone() for key, value in states.items()} for i in range(count)]


def _hash(picture: Image) -> str:
    words = f"{picture.mode} {picture.size} ".encode()
    return hashlib.sha256(words + picture.tobytes()).hexdigest()


def _shapes(row: Condition) -> frozenset[tuple[str, tuple[int, ...]]]:
    return frozenset((key, tuple(value.shape)) for key, value in row.items())


def _bytes(row: Condition) -> int:
    tensors: list[Tensor] = list(row.values())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
