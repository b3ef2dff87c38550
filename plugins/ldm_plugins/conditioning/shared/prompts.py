"""Prompts as a network reads them: in windows, with the weights of their words."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from ldm_core.contracts import Condition, Unequal, concatenate
from ldm_core.contracts.abilities import Span, TextAbility
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.values import brief
from ldm_plugins.conditioning.shared.calls import shapes
from ldm_plugins.conditioning.shared.weighted_prompt import WeightedText, read_prompt

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

MOST_WINDOWS = 100
TooLong = Literal["warn", "error", "chunk"]
Windows = list[WeightedText | None]
"""A text in parts that fit the encoder's window; None for no text."""


class Prompts:
    """Encodes the prompts of one run.

    Where long ones are parted, all texts of an image are seen in as many windows, so that the
    network can be asked under all of them in one call; other images have no part in it.

    Args:
        images: the texts of each image.
        too_long, weights: as of the conditioning ``text``.
        references: the reference pictures of each image, where the text encoder sees them.
    Raises:
        LdmError: texts need more windows than the network can read.
    """

    def __init__(
        self,
        ability: TextAbility,
        images: Sequence[Sequence[str | None]],
        too_long: TooLong,
        weights: bool,
        references: Sequence[Sequence[Image]] = (),
    ) -> None:
        self._ability = ability
        self._too_long = too_long
        self._weights = weights
        self._parts: dict[str | None, Windows] = {}
        self._empty: dict[int, Condition] = {}
        self._references = references
        firsts: dict[tuple[int, ...], int] = {}
        self._first_with = [
            firsts.setdefault(tuple(map(id, pictures)), image)
            for image, pictures in enumerate(references)
        ]
        """For each image, the first one that has the same pictures."""
        self._counts = [self._count(texts) if too_long == "chunk" else 1 for texts in images]

    def __call__(self, texts: Sequence[str | None]) -> Condition | Unequal:
        """The condition of one text for each image, a row each."""
        return _together(self.rows(list(enumerate(texts))))

    def joined(self, images: Sequence[Sequence[str | None]]) -> Condition | Unequal:
        """The condition of texts of which each text encoder reads its own, a row an image.

        Args:
            images: of each image, a text for each encoder.
        """
        rows = iter(self.rows([(i, text) for i, texts in enumerate(images) for text in texts]))
        return _together([self._ability.joined([next(rows) for _ in texts]) for texts in images])

    def rows(self, texts: Sequence[tuple[int, str | None]]) -> list[Condition]:
        """The condition of each text, each of a single row; equal ones are encoded once.

        Args:
            texts: with the number of its image before each.
        """
        if self._too_long != "chunk":
            for text in dict.fromkeys(text for _, text in texts):
                self._report_overflow(text)
        keys = [(text, self._shown(image)) for image, text in texts]
        different = list(dict.fromkeys(keys))
        windows = self._encode([(self._windows(text), shown) for text, shown in different])
        states = dict(zip(different, windows, strict=True))
        counts = [self._counts[image] for image, _ in texts]
        pairs = list(zip(keys, counts, strict=True))
        conditions = {
            (key, count): self._side_by_side(states[key], count)
            for key, count in dict.fromkeys(pairs)
        }
        return [conditions[pair] for pair in pairs]

    def _shown(self, image: int) -> int:
        """By whose pictures the texts of an image are read; the same for all where there are
        none."""
        return self._first_with[image] if self._first_with else 0

    def _count(self, texts: Sequence[str | None]) -> int:
        """In how many windows each text of an image is seen."""
        counts = {len(self._windows(text)) for text in texts}
        common = math.lcm(*counts)
        if common > 1 and not self._joins_windows():
            raise LdmError(
                "this model reads one window of text, and a prompt needs "
                f"{max(counts)}; choose the option too_long = \"warn\" of 'text', or say less."
            )
        if common > MOST_WINDOWS:
            several = ", ".join(map(str, sorted(counts)))
            raise LdmError(
                f"prompts of {several} windows do not go together for one image, where each would "
                f"be seen as {common} of them; say less in one of them."
            )
        return common

    def _joins_windows(self) -> bool:
        """Whether the network can read windows side by side, and it is known where."""
        return self._ability.joins_windows and self._ability.tokens("") is not None

    def _encode(self, texts: Sequence[tuple[Windows, int]]) -> list[list[Condition]]:
        """The condition of each window of each text, of a single row, as its words weigh.

        Args:
            texts: with the image by whose pictures each is read.
        """
        states: list[list[Condition]] = [[] for _ in texts]
        for place in range(max((len(parts) for parts, _ in texts), default=0)):
            column = [
                (i, parts[place], shown)
                for i, (parts, shown) in enumerate(texts)
                if place < len(parts)
            ]
            rows = self._rows_of(
                [(None if part is None else part.text, shown) for _, part, shown in column]
            )
            for (i, part, shown), row in zip(column, rows, strict=True):
                states[i].append(self._weigh(row, part, shown))
        return states

    def _rows_of(self, texts: Sequence[tuple[str | None, int]]) -> list[Condition]:
        """What the family makes of texts of one window each."""
        plain = [text for text, _ in texts]
        if self._references:
            pictures = [self._references[shown] for _, shown in texts]
            states = self._ability.encode_beside(plain, pictures)
        else:
            states = self._ability.encode(plain)
        if isinstance(states, Unequal):
            return list(states.each)
        return [
            {key: value[place : place + 1] for key, value in states.items()}
            for place in range(len(texts))
        ]

    def _side_by_side(self, windows: Sequence[Condition], count: int) -> Condition:
        """So many windows of a text as one condition.

        To see each window as often is to see each once: attention's softmax does not change.
        """
        import torch

        if count == 1:
            return windows[0]
        windows = [*windows] * (count // len(windows))
        along = self._tokens("")
        return {
            key: torch.cat([window[key] for window in windows], dim=1) if key in along else value
            for key, value in windows[0].items()
        }

    def _weigh(self, states: Condition, text: WeightedText | None, shown: int) -> Condition:
        """The condition of a text, of a single row, as its words weigh."""
        if text is None or text.plain:
            return states
        if shown not in self._empty:
            (self._empty[shown],) = self._rows_of([("", shown)])
        weighty = dict(states)
        for key, spans in self._tokens(text.text).items():
            if states[key].is_floating_point():
                weights = [text.of(*span) for span in spans]
                weighty[key] = _lead(self._empty[shown][key], states[key], weights)
        return weighty

    def _tokens(self, text: str) -> Mapping[str, Sequence[Span]]:
        tokens = self._ability.tokens(text)
        if tokens is None:
            raise _no_weights(
                "its text encoder does not say which of its states stand for which words"
            )
        return tokens

    def _windows(self, text: str | None) -> Windows:
        """A prompt in parts that fit the window; as it is where it is not to be parted."""
        if text not in self._parts:
            self._parts[text] = self._part(text)
        return self._parts[text]

    def _part(self, text: str | None) -> Windows:
        if text is None:
            return [None]
        rest = read_prompt(text, self._weights)
        if self._too_long != "chunk":
            return [rest]
        rest = rest.stripped()
        parts: Windows = []
        while lost := self._ability.overflow(rest.text):
            fits = len(rest.text) - len(lost)
            # a part of a word may make more tokens by itself than at the head of the word
            while more := self._ability.overflow(rest.text[:fits].strip()):
                fits -= len(more)
            if not rest.text[:fits].strip():
                raise LdmError(
                    f"the text encoder's window is too small for a letter of this: '{rest.text}'."
                )
            parts.append(rest[:fits].stripped())
            rest = rest[fits:]
        return [*parts, rest]

    def _report_overflow(self, text: str | None) -> None:
        lost = self._ability.overflow(read_prompt(text or "", self._weights).text)
        if not lost:
            return
        message = f"the prompt is longer than the text encoder's window; {brief(lost)} is left out"
        if self._too_long == "error":
            raise LdmError(message.replace("is left out", "does not fit") + f": {brief(text)}")
        warnings.warn(f"{message}: {brief(text)}", LdmWarning, stacklevel=2)


def _lead(empty: Tensor, states: Tensor, weights: Sequence[float]) -> Tensor:
    """States (1, tokens, width) led from the empty text's, past their own where a weight is above
    1.

    Raises:
        LdmError: the empty text has other places.
    """
    import torch

    if empty.shape != states.shape:
        raise _no_weights("it has as many states as words, and no empty text is as long")
    share = torch.tensor(weights, dtype=states.dtype, device=states.device)[:, None]
    # lerp gives a token of weight 1 back bit for bit
    return torch.lerp(empty, states, share)


def _together(rows: Sequence[Condition]) -> Condition | Unequal:
    """Conditions of a single row as that of all images."""
    if len({shapes(row) for row in rows}) > 1:
        return Unequal(tuple(rows))
    return rows[0] if len(rows) == 1 else concatenate(rows)


def as_long(condition: Condition | Unequal) -> Condition:
    """Of texts that are all as long as the window."""
    assert not isinstance(condition, Unequal)
    return condition


def _no_weights(reason: str) -> LdmError:
    return LdmError(
        f"the words of this model's prompts cannot be weighed: {reason}.",
        r"write \( and \), or set the option weights = false of 'text', for plain text.",
    )
