"""Names of files are made of a template that says nothing but what there is, and are names on every
system."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import PureWindowsPath

import pytest

from ldm_core.errors import LdmError
from ldm_core.jobs.naming import Template, checked_name, twice

VALUES = {"prompt": "A large, red  Circle!", "seed": "7", "style": "ink"}


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{index:05d}-{seed}", "00003-99"),
        ("{line}-{prompt}", "4-a-large-red-circle"),
        ("{style}_{seed:04d}", "ink_0099"),
        ("{{}}-{index}", "{}-3"),
        ("fixed", "fixed"),
    ],
)
def test_a_template(template: str, name: str) -> None:
    assert Template(template, frozenset(VALUES)).name(3, 4, 99, VALUES) == name


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{indx}", "Did you mean 'index'?"),
        ("{index.__class__}", "no such column"),
        ("{style[0]}", "no such column"),
        ("{}", "no such column"),
        ("{0}", "no such column"),
        ("{index:{seed}}", "a field within another"),
        ("{index", "cannot be read"),
        ("{style!r}", "has a '!'"),
    ],
)
def test_no_template(template: str, words: str) -> None:
    with pytest.raises(LdmError, match=words.replace("?", r"\?")):
        Template(template, frozenset(VALUES))


@pytest.mark.parametrize("template", ["{style:d}", "{size}", "{index:s}"])
def test_a_line_that_a_template_does_not_fit(template: str) -> None:
    with pytest.raises(LdmError, match="its name"):
        Template(template, frozenset({*VALUES, "size"})).name(3, 4, 99, VALUES)


def test_names_that_some_file_system_takes_for_the_same() -> None:
    names = ["a", "A", "\u00e9", "e\u0301", "E\u0301", "STRASSE", "stra\u00dfe", "b"]
    assert twice(enumerate(names)) == {1: 0, 3: 2, 4: 2, 6: 5}


DEVICES = ["CON", "prn", "Aux", "NUL", "COM1", "com9", "LPT1", "lpt9", "COM\u00b2", "CONIN$"]


@pytest.mark.parametrize(
    "name",
    [*DEVICES, *(f"{name}.star" for name in DEVICES), "nul .a", "a.", "a ", "a. .", *'<>:"|?*'],
)
def test_a_name_that_windows_does_not_take(name: str) -> None:
    for given in (name, f"{name}.png"):
        with pytest.raises(LdmError, match=r"Windows.*on every system"):
            checked_name(given, ".png")


@pytest.mark.parametrize(
    "name",
    ["console", "COM10", "lpt", "null", "a.con", "xcon.1", "a b", "a.b", "\u00e9-{}", "coma1"],
)
def test_a_name_that_it_takes(name: str) -> None:
    """Python's own reading of Windows' names agrees."""
    assert checked_name(f"{name}.png", ".png") == name
    assert not is_reserved(name)
    assert all(map(is_reserved, DEVICES))


def is_reserved(name: str) -> bool:
    with (
        pytest.warns(DeprecationWarning, match="is_reserved")
        if sys.version_info >= (3, 13)
        else nullcontext()
    ):
        return PureWindowsPath(f"{name}.png").is_reserved()
