"""A text ability that keeps what it encoded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING

from ldm_core.contracts import Condition, Unequal, concatenate
from ldm_core.contracts.abilities import Span, TextAbility

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


class Store:
    """Conditions of a single row by their text, the latest used of them in so many bytes; for all
    threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rows: OrderedDict[str | None, Condition] = OrderedDict()
        self._bytes = 0
        self._one_at_a_time = Lock()

    def get(self, text: str | None) -> Condition | None:
        with self._one_at_a_time:
            row = self._rows.get(text)
            if row is not None:
                self._rows.move_to_end(text)
            return row

    def add(self, text: str | None, row: Condition) -> None:
        with self._one_at_a_time:
            if text in self._rows:
                return
            self._rows[text] = row
            self._bytes += _bytes(row)
            while self._bytes > self._limit:
                _, old = self._rows.popitem(last=False)
                self._bytes -= _bytes(old)


class KeptTexts(TextAbility):
    """
    Args:
        ability: what encodes.
        limit: how many bytes are kept.
        before: another such ability with the same encoders, whose store is used on.
    """

    def __init__(self, ability: TextAbility, limit: int, before: KeptTexts | None = None) -> None:
        self._ability = ability
        self._limit = limit
        self._skipping: dict[int, KeptTexts] = {}
        self._store: Store = Store(limit) if before is None else before._store
        self.joins_windows = ability.joins_windows
        negative = ability.for_negative()
        self._negative: KeptTexts | None = None
        if negative is not ability:
            self._negative = KeptTexts(
                negative, limit, None if before is None else before._negative
            )
        self.reads_references = ability.reads_references

    def encode(self, texts: Sequence[str | None]) -> Condition | Unequal:
        rows = {text: self._store.get(text) for text in texts}
        unknown = [text for text, row in rows.items() if row is None]
        if unknown:
            for text, states in zip(unknown, self._encoded(unknown), strict=True):
                rows[text] = states
                self._store.add(text, states)
        each = tuple([row for text in texts if (row := rows[text]) is not None])
        if len({_shapes(row) for row in each}) > 1:
            return Unequal(each)
        return each[0] if len(each) == 1 else concatenate(each)

    def encode_beside(
        self, texts: Sequence[str | None], references: Sequence[Sequence[Image]]
    ) -> Condition | Unequal:
        """Kept of texts alone: pictures are another's in every run."""
        return self._ability.encode_beside(texts, references)

    def _encoded(self, texts: Sequence[str | None]) -> list[Condition]:
        """The condition of each text, of a single row, in memory of its own."""
        states = self._ability.encode(texts)
        if isinstance(states, Unequal):
            return list(states.each)
        rows = range(len(texts))
        return [{key: value[i : i + 1].clone() for key, value in states.items()} for i in rows]

    def overflow(self, text: str) -> str:
        return self._ability.overflow(text)

    def for_negative(self) -> TextAbility:
        return self._negative or self

    def skipping(self, layers: int) -> TextAbility:
        if layers not in self._skipping:
            self._skipping[layers] = KeptTexts(self._ability.skipping(layers), self._limit)
        return self._skipping[layers]

    def joined(self, conditions: Sequence[Condition]) -> Condition:
        return self._ability.joined(conditions)

    def tokens(self, text: str) -> Mapping[str, Sequence[Span]] | None:
        return self._ability.tokens(text)


def _shapes(row: Condition) -> frozenset[tuple[str, tuple[int, ...]]]:
    return frozenset((key, tuple(value.shape)) for key, value in row.items())


def _bytes(row: Condition) -> int:
    tensors: list[Tensor] = list(row.values())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
