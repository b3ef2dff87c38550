"""Whether a function reads what it takes, by its compiled code."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable
from types import CodeType
from typing import Any

from ldm_core.plugins.options import plain_function

BY_NAME = frozenset({"locals", "vars", "eval", "exec", "super"})
"""What may read a parameter that the code does not name. In a class `super` stands for code that
takes what its signature says."""


def is_read(target: Callable[..., Any], parameter: str) -> bool:
    """Whether the code of a function, or that which makes an object of a class, reads a parameter;
    true where there is no code to look at, as of one that is written in C."""
    code = _code(target)
    if code is None or parameter not in code.co_varnames[: _taken(code)]:
        return True
    if parameter in code.co_cellvars or BY_NAME & {*code.co_names}:
        return True
    loads = (one.argval for one in dis.get_instructions(code) if one.opname.startswith("LOAD_"))
    return any(parameter in (name if isinstance(name, tuple) else (name,)) for name in loads)


def _code(target: Callable[..., Any]) -> CodeType | None:
    function = plain_function(target)
    if inspect.isclass(function):
        function = function.__init__
    function = inspect.unwrap(function) if callable(function) else None
    return function.__code__ if inspect.isfunction(function) else None


def _taken(code: CodeType) -> int:
    """How many names of a function's variables are its parameters."""
    return code.co_argcount + code.co_kwonlyargcount
