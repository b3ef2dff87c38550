"""Values that are often forgotten, of every JSON type and of text."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

NUMBERS: list[Any] = [
    0,
    1,
    2,
    -1,
    0.5,
    -0.0,
    1e-30,
    1e30,
    1e308,
    -1e308,
    float("nan"),
    float("inf"),
    float("-inf"),
    2**31,
    2**32,
    2**63 - 1,
    2**63,
    2**64,
    -(2**63),
    10**40,
]
WORDS = [
    "",
    " ",
    "a red star",
    "none",
    "None",
    "null",
    "true",
    "nan",
    "inf",
    "1e999",
    "0",
    "-1",
    "1.5",
    "\u0663\u0663",
    "\x00",
    "a\x00b",
    "\n",
    "\r\n\t",
    "\x1b[31mred",
    "\u202egnp.a",
    "\ufeffa",
    "e\u0301" * 20,
    "\U0001f480",
    "\udc80",
    "\ud800",
    "/",
    ".",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "~",
    "~nobody",
    "$HOME",
    "%s%n",
    "{0}",
    "${x}",
    "'",
    '"',
    "[",
    "{",
    "a=b",
    "a:b:c",
    "os:system",
    "builtins.eval",
    "__class__",
    "python",
    "owner/name",
    "owner/name@main",
    "file:///etc/passwd",
    "x" * 300,
    "x" * 70_000,
    "(" * 3000,
]
numbers = st.sampled_from(NUMBERS) | st.integers(-20, 70) | st.floats(-2, 60, width=16)
words = st.sampled_from(WORDS) | st.text(max_size=20)
scalars = st.none() | st.booleans() | numbers | words
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
"""Anything that JSON can say, with what is often forgotten among it."""
plain_words = words.map(lambda text: text.encode("utf-8", "replace").decode())
"""Those that a UTF-8 file can hold."""


def seldom(often: int) -> st.SearchStrategy[bool]:
    """True about once in so many times."""
    return st.integers(1, often).map(lambda number: number == often)


def argument_of(text: str) -> str:
    """A text as an operating system hands it over: no NUL, and bytes that are no UTF-8 as they
    come in from the file system."""
    return "".join(
        c
        for c in text.replace("\x00", "")
        if not "\ud800" <= c <= "\udfff" or "\udc80" <= c <= "\udcff"
    )


arguments = words.map(argument_of)
"""Texts that an argument can be."""


def toml_of(value: Any) -> str:
    """A value as TOML; what TOML has no word for becomes a text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return "nan" if value != value else str(value).replace("e+", "e")
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_of, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(k)} = {toml_of(v)}" for k, v in value.items()) + "}"
    return quoted(str(value))


def quoted(text: str) -> str:
    """A basic string of TOML. What it cannot say is left as it is, and the file is then broken."""
    out = []
    for letter in text:
        if letter in '"\\':
            out.append("\\" + letter)
        elif ord(letter) < 32 or ord(letter) == 127:
            out.append(f"\\u{ord(letter):04x}")
        else:
            out.append(letter)
    return '"' + "".join(out) + '"'
