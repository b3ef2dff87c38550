"""The kit of checks tells parts that are wrong in one way from right ones, all of them written by
somebody who had not seen the checks."""

from __future__ import annotations

import sys
from functools import cache
from types import ModuleType
from typing import Any

import pytest

from checking import checks, outcome, subject
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
    plugin = subject(kind, parts(kind)[name])
    said = (outcome(plugin, check) for check in checks(kind))
    failed = next((one for one in said if one.startswith("failed")), "")  # the rest adds nothing
    assert bool(failed) == (not name.startswith("right")), failed
