"""Recipes as files: the keys and names that there are, with values of every kind."""

from __future__ import annotations

import base64
from typing import Any

from hypothesis import strategies as st

from fuzz.case import MODELS, Case
from fuzz.kinds.names import KIND_OF, LISTS, PLACES, SIZES, STAGES, choices
from fuzz.kinds.values import numbers, quoted, scalars, seldom, toml_of, values, words
from fuzz.shelf import FAMILIES, SD, asked

SPELT = st.sampled_from(
    ["a red star", "owner/name", "os:system", "python", f"{MODELS}/lora.safetensors"]
)


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """A recipe as a table, right in most places."""
    family = draw(st.sampled_from((SD, SD, SD, *FAMILIES)))
    table: dict[str, Any] = {"model": f"{MODELS}/{family}", "num_inference_steps": 1}
    for key in draw(st.lists(st.sampled_from((*STAGES, *STAGES, *LISTS)), max_size=2)):
        kind = KIND_OF.get(key, key)
        if key in LISTS and draw(st.booleans()):
            table[key] = draw(st.lists(choices(kind), max_size=2))
        else:
            table[key] = draw(choices(kind))
    if draw(seldom(3)):
        key = draw(st.sampled_from(("model", "model_config", "loras", "extent", *PLACES, *SIZES)))
        small = st.integers(-1, 3) if key == "num_inference_steps" else numbers
        table[key] = draw(small | values | SPELT)
    if draw(seldom(10)):
        table[draw(words)] = draw(scalars)
    return table


def text_of(table: dict[str, Any]) -> str:
    """A table as TOML, one key a line."""
    return "".join(f"{quoted(key)} = {toml_of(value)}\n" for key, value in table.items())


@st.composite
def broken(draw: st.DrawFn, text: str) -> str:
    """A text with pieces cut out, put in twice or swapped for others."""
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(text)))
        length = draw(st.integers(0, 12))
        piece = draw(
            st.sampled_from(["", text[at : at + length] * 2, "[", "]", "=", '"', "\n[a]\n"]) | words
        )
        text = text[:at] + piece + text[at + length :]
    return text


@st.composite
def recipes(draw: st.DrawFn) -> Case:
    """A recipe that is checked, explained, or drawn with in one step."""
    table = draw(tables())
    text = draw(broken(text_of(table))) if draw(seldom(6)) else text_of(table)
    model = table["model"]
    family = model.rpartition("/")[2] if isinstance(model, str) else SD
    steps: list[list[Any]] = [["text", "r.toml", text]]
    if draw(seldom(25)):
        head = draw(st.sampled_from([b"\xff\xfe", b"\xef\xbb\xbf", b"\x00"]))
        raw = head + text.encode("utf-8", "surrogatepass")
        steps = [["bytes", "r.toml", base64.b64encode(raw).decode()]]
    command = draw(st.sampled_from(["check", "explain", "generate", "generate"]))
    if command == "check":
        argv = ["recipe", "check", "r.toml"]
    elif command == "explain":
        argv = ["explain", "--recipe", "r.toml"]
    else:
        argv = ["generate", "--recipe", "r.toml", *asked(family)]
        steps += [["picture", "a.png", {}], ["picture", "m.png", {"mode": "L"}]]
    return Case("recipe", steps, argv)


def strategy() -> st.SearchStrategy[Case]:
    return recipes()
