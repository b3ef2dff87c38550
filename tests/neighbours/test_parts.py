"""The kit of checks tells parts that are wrong in one way from right ones, all of them written by
somebody who had not seen the checks."""

from __future__ import annotations

import sys
from functools import cache
from types import ModuleType
from typing import Any

import pytest

from checking import failures, subject
from neighbours.parts import PARTS


@cache
def parts(kind: str) -> dict[str, Any]:
    """What a kind's module offers, by name."""
    module = ModuleType(f"parts_of_kind_{kind}")
    sys.modules[module.__name__] = module
    exec(compile(PARTS[kind], f"{module.__name__}.py", "exec"), vars(module))
    own = vars(module).items()
    return {
        name: part
        for name, part in own
        if not name.startswith("_") and callable(part) and f"def {name}(" in PARTS[kind]
    }


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in PARTS for name in parts(kind)])
def test_the_checks_tell_right_from_wrong(kind: str, name: str) -> None:
    found = failures(subject(kind, parts(kind)[name]))
    assert bool(found) == (not name.startswith("right")), found
