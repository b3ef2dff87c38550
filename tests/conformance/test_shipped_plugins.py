"""The plugins that ship raise no alarm; of each kind a few here, and all of them where there is
time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ldm_core.conformance.plugin_checks import PluginCheck, checks_of
from ldm_core.conformance.runner import run_checks

SAMPLE = (
    "scheduler:euler_ancestral",
    "scheduler:tcd",
    "scheduler:switch",
    "spacing:explicit",
    "spacing:karras",
    "attention:sliced",
    "attention:first_of",
    "writer:jpg",
    "observer:progress_bar",
    "model:digits",
)


def sample() -> Iterator[Any]:
    for name in SAMPLE:
        for check in checks_of(name):
            yield pytest.param(check, id=check.id)


@pytest.mark.parametrize("check", sample())
def test_a_plugin_that_ships_is_right(check: PluginCheck) -> None:
    result = check.result()
    assert result.outcome != "failed", result.reason
    assert "it passes, and is declared to fail" not in result.reason


@pytest.mark.slow
def test_no_plugin_that_ships_raises_an_alarm() -> None:
    results = [*run_checks("ldm-core", limit=300)]
    assert [str(result) for result in results if result.outcome == "failed"] == []
    assert [str(r) for r in results if "it passes, and is declared to fail" in r.reason] == []
