"""The text that AUTOMATIC1111's page writes into pictures, and many others read: prompt, negative
prompt, and a last line of settings, as ``Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1``.

Source: its ``modules/infotext_utils.py``; a value with a comma, a colon or a line end stands in
quotes, as JSON has them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ldm_core.media.recorded import Recorded, real, whole

KEYWORD = "parameters"
"""Under which it stands in a PNG."""
NEGATIVE = "Negative prompt:"
FEWEST = 3
"""Settings that a line has which is one of settings."""
LONGEST = 2**18
"""Letters that are read."""
NAME = re.compile(r"\w[\w \-/+]{0,60}")
TAKEN = ("Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size", "Model")
"""Settings that have a place of their own in `Recorded`."""
CLIP_SKIP = "Clip skip"
"""One more, where it is a number."""


def read_text(text: str) -> Recorded | None:
    """What a text of this form says; None where it has another one, or is longer than `LONGEST`."""
    if len(text) > LONGEST:
        return None
    lines = text.replace("\r\n", "\n").strip().split("\n")
    settings = dict(_settings(lines[-1]))
    if len(settings) < FEWEST or "Steps" not in settings:
        return None
    skip = whole(settings.get(CLIP_SKIP), 1)
    taken = TAKEN if skip is None else (*TAKEN, CLIP_SKIP)
    prompt: list[str] = []
    negative: list[str] = []
    part = prompt
    for line in lines[:-1]:
        if part is prompt and line.strip().startswith(NEGATIVE):
            part, line = negative, line.strip().removeprefix(NEGATIVE)
        part.append(line.strip())
    width, _, height = settings.get("Size", "").partition("x")
    return Recorded(
        "A1111",
        "\n".join(prompt),
        "\n".join(negative) or None,
        whole(settings.get("Seed")),
        whole(settings.get("Steps"), 1),
        real(settings.get("CFG scale")),
        whole(width, 1),
        whole(height, 1),
        settings.get("Sampler"),
        settings.get("Schedule type"),
        settings.get("Model"),
        {name: value for name, value in settings.items() if name not in taken},
        clip_skip=skip,
    )


def is_too_long(text: str) -> bool:
    """Whether a text is longer than `LONGEST`, and its end is that of one of this form."""
    return len(text) > LONGEST and "Steps:" in text[-LONGEST:].rpartition("\n")[2]


def _settings(line: str) -> Iterator[tuple[str, str]]:
    """Each ``name: value`` of a line, once over it."""
    at = 0
    while (colon := line.find(":", at)) >= 0:
        name = line[at:colon].rpartition(",")[2].strip()
        begin = colon + 1
        while begin < len(line) and line[begin] == " ":
            begin += 1
        end = _quote_end(line, begin) if line[begin : begin + 1] == '"' else -1
        if end < 0:
            comma = line.find(",", begin)
            end = len(line) if comma < 0 else comma
        if NAME.fullmatch(name):
            yield name, _unquoted(line[begin:end].strip())
        at = end


def _quote_end(line: str, begin: int) -> int:
    """The place behind a quoted value; -1 where it has no end."""
    at = begin + 1
    while at < len(line):
        if line[at] == "\\":
            at += 1
        elif line[at] == '"':
            return at + 1
        at += 1
    return -1


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        read = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return read if isinstance(read, str) else value


def written_text(prompt: str, negative: str | None, settings: Mapping[str, Any]) -> str:
    """The text of a picture; settings that are None are left out."""
    last = ", ".join(f"{k}: {_quoted(str(v))}" for k, v in settings.items() if v is not None)
    return "\n".join([prompt, *([f"{NEGATIVE} {negative}"] if negative else []), last])


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if re.search(r"[,:\n]", value) else value
