"""Docstrings read from the source of what a plugin names, without importing it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ldm_core.plugins.docstrings import written_docstring
from ldm_core.plugins.registry import Plugin, installed

SOURCE = '''
"""A module."""
import os
from json import dumps as said


def plain(x: str = "a:\\n") -> None:
    """Say it.

    Args:
        x: what.
    """
    os.abort()


@property
def decorated(
    x: int,
) -> None:
    """Say more."""


class Made:
    x = """no docstring"""


class Told:
    \'\'\'Say it otherwise: """so".\'\'\'


async def later() -> None:
    r"""Say \\d later."""


def many() -> None:
    """Say
much at the margin."""


def silent() -> None:
    return


def next_one() -> None:
    """Another's."""


assigned = plain
raise RuntimeError("this was run")
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "ldm_unread.py").write_text(SOURCE)
    (tmp_path / "ldm_needy.py").write_text("import no_such_package\n\ndef f():\n    'Say.'\n")
    monkeypatch.syspath_prepend(tmp_path)
    return "ldm_unread"


@pytest.mark.parametrize(
    ("name", "doc"),
    [
        ("plain", "Say it.\n\nArgs:\n    x: what."),
        ("decorated", "Say more."),
        ("Told", 'Say it otherwise: """so".'),
        ("later", r"Say \d later."),
        ("Made", None),
        ("silent", None),
        ("many", None),
        ("said", None),
        ("assigned", None),
        ("dumps", None),
        ("nothing", None),
    ],
)
def test_it_is_what_the_source_says_and_nothing_is_run(
    module: str, name: str, doc: str | None
) -> None:
    assert written_docstring(f"{module}:{name}") == doc
    assert module not in sys.modules


@pytest.mark.parametrize("target", ["ldm_needy:f", "no_such.module:f", "sys:exit", "math:sin"])
def test_where_only_an_import_can_say_it(module: str, target: str) -> None:
    assert written_docstring(target) is None


def test_a_plugin_whose_package_lacks_is_listed_with_the_reason(module: str) -> None:
    with pytest.raises(ValueError, match="No module named 'no_such_package'"):
        _ = Plugin("scheduler", "needy", "pkg", "1", "ldm_needy:f").summary


def test_all_that_ships_is_listed_by_its_source_and_as_it_says_itself() -> None:
    for plugin in installed().plugins:
        assert isinstance(plugin.target, str)
        assert written_docstring(plugin.target) == plugin.doc, plugin.id
