"""The docstring of what a plugin names lazily, read from its source: listing what there is runs
none of it."""

from __future__ import annotations

import ast
import re
from functools import cache
from importlib.util import find_spec
from typing import Any

from ldm_core.machine import asked_to_stop

IMPORTED = re.compile(r"^(?:from|import) +([A-Za-z_]\w*)", re.MULTILINE)
"""The packages that a module needs when it is imported."""
DEFINED = re.compile(r"^(?:async +def|def|class) +(\w+)", re.MULTILINE)
"""What stands at the top of a module."""
NEXT = re.compile(r"^[^\s)\]}#]", re.MULTILINE)
"""Where what stands at the top of a module ends: at whatever next stands there."""


@cache
def written_docstring(target: str) -> str | None:
    """The docstring of ``"package.module:name"``, without importing the module.

    Returns:
        None where only an import can say it: the name is no function or class that the module
        itself defines with a docstring, the module or its source is not there, or a package that
        it imports is not installed.
    """
    module, _, name = target.partition(":")
    source = _source(module)
    if source is None:
        return None
    start = next((d for d in DEFINED.finditer(source) if d[1] == name), None)
    if start is None:
        return None
    end = NEXT.search(source, start.end())
    return _docstring(source[start.start() : end.start() if end else len(source)])


def _docstring(definition: str) -> str | None:
    """The docstring of a definition. What follows the first text in three quotes, which is nearly
    always that, is read only where it turns out not to be."""
    opening, quotes, rest = definition.partition('"""')
    text, closing, _ = rest.partition('"""')
    for source in (opening + quotes + text + closing, definition):
        try:
            (node,) = ast.parse(source).body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return ast.get_docstring(node)
    return None


@cache
def _source(module: str) -> str | None:
    """The source of a module whose imports are all installed."""
    try:
        spec = find_spec(module)
        loader: Any = spec and spec.loader
        source = loader and loader.get_source(module)
    except BaseException as error:  # whatever a package around it raises, or no file says
        if asked_to_stop(error):
            raise
        return None
    if source is None or not all(map(_is_there, IMPORTED.findall(source))):
        return None
    return str(source)


@cache
def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ValueError:  # it is imported already, by a program that says not from where
        return True
