"""Checks as tests of a test suite."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

from ldm_core.conformance.checks import CHECKS, Check, NotApplicable, Result
from ldm_core.conformance.declared import Declared
from ldm_core.conformance.package import checks as package_checks
from ldm_core.conformance.packages import Package, find_package
from ldm_core.conformance.plugin_checks import PluginCheck, checks_of
from ldm_core.conformance.runner import run_checks

T = TypeVar("T")


def every_test(target: str, model: Path | None = None) -> list[PluginCheck]:
    """The checks of a package as a whole, which are made in a process of its own when the first of
    them is called, and those of its plugins, which are made here.

    Args:
        target: a distribution, or a plugin's name.
        model: a model folder for the checks that need one.
    Raises:
        LdmError: there is no such distribution or plugin.
    """
    checks, package = checks_of(target, model), find_package(target)
    return checks if package is None else [*_of_package(package), *checks]


def parametrize_with_checks(
    distribution: str, model: Path | None = None
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Make a test of each check of a distribution's plugins.

    Example::

        @parametrize_with_checks("ldm-mine")
        def test_plugins(check):
            check()

    Checks that the package declares to fail are marked so.

    Raises:
        LdmError: there is no such distribution.
    """
    import pytest

    cases: list[Any] = []
    for check in every_test(distribution, model):
        failing = [] if check.expected is None else [pytest.mark.xfail(reason=check.expected)]
        cases.append(pytest.param(check, id=check.id, marks=failing))
    return pytest.mark.parametrize("check", cases)


def _of_package(package: Package) -> list[PluginCheck]:
    label, declared = package_checks.KIND, Declared.of(package.modules)
    return [
        PluginCheck(
            label,
            Check(label, check.name, partial(_looked_up, check.name)),
            package.name,
            declared.failure(label, check.name),
        )
        for check in CHECKS[label]
    ]


def _looked_up(name: str, distribution: str) -> str:
    """What came of a check in the package's own process.

    Raises:
        AssertionError: it failed there.
    """
    result = _results(distribution).get(name)
    if result is None:
        raise NotApplicable("the process of the package's checks ended before it")
    if result.outcome == "skipped":
        raise NotApplicable(result.reason)
    assert result.outcome == "passed", result.reason
    return result.figure


@cache
def _results(distribution: str) -> dict[str, Result]:
    return {r.check: r for r in run_checks(distribution, package_alone=True)}
