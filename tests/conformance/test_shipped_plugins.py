"""The plugins that ship raise no alarm; of each kind a few here, and all of them where there is
time."""

from __future__ import annotations

import pytest

from ldm_core.conformance.plugin_checks import checks_of
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
    "metric:psnr",
    "metric:kid",
    "command:compare",
    "model:digits",
)
TAKE_BACK = "it passes, and is declared to fail"


@pytest.mark.parametrize("name", SAMPLE)
def test_a_plugin_that_ships_is_right(name: str) -> None:
    results = [check.result() for check in checks_of(name)]
    assert [str(result) for result in results if result.outcome == "failed"] == []
    assert [str(r) for r in results if TAKE_BACK in r.reason] == []
    assert any(result.outcome == "passed" for result in results)


def test_the_package_as_a_whole_is_right() -> None:
    results = [*run_checks("ldm-core", limit=300, package_alone=True)]
    assert [str(result) for result in results if result.outcome == "failed"] == []
    assert sum(result.outcome == "passed" for result in results) > 20


@pytest.mark.slow
def test_no_plugin_that_ships_raises_an_alarm() -> None:
    results = [*run_checks("ldm-core", limit=300)]
    assert [str(result) for result in results if result.outcome == "failed"] == []
    assert [str(r) for r in results if TAKE_BACK in r.reason] == []
