"""What a prompt of another program says there and is plain text here."""

from __future__ import annotations

import re
from collections.abc import Iterator

WEIGHT = re.compile(r"(?<!\d):\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*$|(?<!\(1):\s*[+-]?\d*\.\d+\s*$")
"""A weight that is one here too; a whole number behind a digit, as in ``(16:9)``, is text."""
TAIL = 40
"""Letters at the end of what stands in parentheses in which its weight is looked for."""
EMBEDDING = re.compile(r"embedding:[^\s,()\[\]]{1,200}")
A1111_WORDS = {
    "AND": "there, it joins prompts that are drawn each for itself",
    "BREAK": "there, it begins a new window of the text encoder",
}
SHOWN = 3
"""Places of one kind that a note names."""
LONGEST = 60
"""Letters of a place that are shown."""


def syntax_notes(text: str, program: str) -> Iterator[str]:
    """A line for each kind of syntax of a program that a prompt has and that is text here.

    Args:
        program: ``A1111`` or ``ComfyUI``; brackets and words in capitals mean something in the
            first alone.
    """
    bare = [one for one in pairs(text, "()") if not WEIGHT.search(text[one][-TAIL:-1])]
    emphasis = "they are text here, where a weight is written as (words:1.1)"
    yield from _line("the weight of the parentheses", _outer(text, bare), emphasis)
    embeddings = EMBEDDING.findall(text)
    yield from _line("what is learned in", embeddings, "it is text here, and no file is read")
    if program != "A1111":
        return
    words = "they are text here, and neither lower a weight nor change with the steps"
    yield from _line("what the brackets say,", _outer(text, pairs(text, "[]")), words)
    for word, meaning in A1111_WORDS.items():
        if re.search(rf"\b{word}\b", text):
            yield f"what the word {word} says: it is text here; {meaning}"


def pairs(text: str, marks: str) -> list[slice]:
    """Where two marks and what is between them stand; marks behind a backslash are text.

    Args:
        marks: the one that opens, and the one that closes.
    """
    opened: list[int] = []
    found: list[slice] = []
    for match in re.finditer(r"\\.|[()\[\]]", text, re.DOTALL):
        mark = match[0]
        if mark == marks[0]:
            opened.append(match.start())
        elif mark == marks[1] and opened:
            found.append(slice(opened.pop(), match.end()))
    return sorted(found, key=lambda one: one.start)


def _outer(text: str, places: list[slice]) -> list[str]:
    """The places that lie in no other."""
    end, outer = 0, []
    for place in places:
        if place.start >= end:
            outer.append(text[place])
            end = place.stop
    return outer


def _line(what: str, places: list[str], meaning: str) -> Iterator[str]:
    if places:
        brief = [one if len(one) <= LONGEST else f"{one[:LONGEST]}…" for one in places[:SHOWN]]
        more = f" and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
        yield f"{what} {', '.join(brief)}{more}: {meaning}"
