from __future__ import annotations

from typing import Any

import pytest

from ldm_core.contracts.read_only import ReadOnly
from ldm_core.run.conditions import Reading


def test_a_table_is_not_changed_by_whom_it_is_given_to_or_whom_it_came_from() -> None:
    given: dict[str, Any] = {"a": 1}
    table: Any = ReadOnly(given)
    given["b"] = 2
    assert dict(table) == {"a": 1}
    for change in (lambda: table.clear(), lambda: table.update(a=2), lambda: table.pop("a")):
        with pytest.raises(AttributeError):
            change()
    with pytest.raises(TypeError):
        table["a"] = 2
    joined = table | {"b": 3}
    joined["a"] = 4
    assert (table["a"], {"a": 0} | table) == (1, {"a": 1})


def test_what_is_read_is_known_however_it_is_read() -> None:
    for read, names in (
        (lambda table: table["a"], {"a"}),
        (lambda table: {**table}, {"a", "b"}),
        (lambda table: table | {}, {"a", "b"}),
        (lambda table: list(table), set()),
    ):
        table = Reading({"a": [1], "b": [2]})
        read(table)
        assert table.names == names
