r"""Prompts whose words have weights: ``a (red:1.3) circle``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ldm_core.errors import LdmError
from ldm_core.values import brief

MOST_LEVELS = 100
WEIGHT = re.compile(
    r"""
    (?: (?<!\d):\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+))   # after a letter any number is a weight
    |   (?<!\(1):\s*([+-]?\d*\.\d+)  # after a digit one with a point, but not in (1:1.85)
    )\s*$""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class WeightedText:
    """What a prompt says, and how much of it.

    Attributes:
        text: without the marks.
        weights: of each of its characters.
    """

    text: str
    weights: tuple[float, ...]

    @property
    def plain(self) -> bool:
        """Whether every word weighs 1."""
        return all(weight == 1 for weight in self.weights)

    def __getitem__(self, part: slice) -> WeightedText:
        return WeightedText(self.text[part], self.weights[part])

    def stripped(self) -> WeightedText:
        """Without the space around it."""
        start = len(self.text) - len(self.text.lstrip())
        return self[start : start + len(self.text.strip())]

    def of(self, start: int, end: int) -> float:
        r"""The weight of a token by its characters; 1 for one that stands for none.

        A token may begin with the space before its word, so that its last character counts.
        """
        return self.weights[end - 1] if end > start else 1.0


def unweighted(text: str) -> WeightedText:
    """A text as it is, whatever signs it has."""
    return WeightedText(text, (1.0,) * len(text))


def read_prompt(prompt: str, weights: bool) -> WeightedText:
    """What a prompt says.

    Args:
        weights: whether ``(words:1.3)`` is a weight; else it is text as any other.
    """
    return read_weights(prompt) if weights else unweighted(prompt)


def read_weights(prompt: str) -> WeightedText:
    r"""A prompt with weights as ``(words:1.3)``, which may lie inside one another and multiply.

    Parentheses without a number are text as any other, and so is a number without a point that
    follows a digit, as in ``(16:9)`` and ``(at 10:30)``, and a ratio to 1, as ``(1:1.85)``;
    ``(score_9:1.3)`` and ``(f1.8:1.2)`` are weights. ``\(`` and ``\)`` are plain parentheses.

    Raises:
        LdmError: a weight below 0; or parentheses that do not close, in a prompt with weights.
    """
    if "(" not in prompt and ")" not in prompt:
        return unweighted(prompt)
    # Each open level holds its characters and weights, the parenthesis that opened it first.
    levels: list[list[tuple[str, float]]] = [[]]
    weighted = unbalanced = False
    signs = re.finditer(r"\\[()]|.", prompt, re.DOTALL)
    for sign in (match.group() for match in signs):
        if sign == "(":
            levels.append([("(", 1.0)])
        elif sign == ")" and len(levels) > 1:
            if len(levels) > MOST_LEVELS:
                raise LdmError(
                    f"the parentheses of the prompt {brief(prompt)} lie inside one another in more "
                    f"than {MOST_LEVELS} levels.",
                    r"write \( and \) for parentheses that are part of the text.",
                )
            inner = levels.pop()
            mark = WEIGHT.search("".join(" " if len(c) > 1 else c for c, _ in inner))
            if mark:
                weighted = True
                factor = _weight(mark.group(1) or mark.group(2), prompt)
                inner = [(c, w * factor) for c, w in inner[1 : mark.start()]]
            else:
                inner.append((")", 1.0))
            levels[-1] += inner
        else:
            unbalanced |= sign == ")"
            levels[-1].append((sign, 1.0))
    if weighted and (unbalanced or len(levels) > 1):
        raise LdmError(
            f"the parentheses of a prompt with weights do not match: {brief(prompt)}.",
            r"write \( and \) for parentheses that are part of the text.",
        )
    pairs = [(c[-1], w) for level in levels for c, w in level]
    if not all(math.isfinite(w) for _, w in pairs):
        raise LdmError(f"the weights of the prompt {brief(prompt)} are too large to multiply.")
    return WeightedText("".join(c for c, _ in pairs), tuple(w for _, w in pairs))


def _weight(number: str, prompt: str) -> float:
    weight = float(number)
    if weight < 0:
        raise LdmError(f"a weight must not be negative, and {number} is: {brief(prompt)}.")
    return weight
