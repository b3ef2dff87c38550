"""Checks as tests of a test suite."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

from ldm_core.conformance.checks import CHECKS, Check, NotApplicable, Result
from ldm_core.conformance.declared import Declared
from ldm_core.conformance.package import checks as package_checks
from ldm_core.conformance.packages import Package, find_package, normalised
from ldm_core.conformance.plugin_checks import PluginCheck, checks_of
from ldm_core.conformance.project_folder import is_folder, read_project
from ldm_core.conformance.runner import run_checks
from ldm_core.errors import LdmError
from ldm_core.plugins.registry import installed

T = TypeVar("T")


def every_test(target: str, model: Path | None = None) -> list[PluginCheck]:
    """The checks of a package as a whole, which are made in a process of its own when the first of
    them is called, and those of its plugins, which are made here.

    Args:
        target: a distribution, a plugin's name, or a folder with the pyproject.toml of a
            distribution that is installed.
        model: a model folder for the checks that need one.
    Raises:
        LdmError: there is no such distribution or plugin, or what is in the folder is not
            installed.
    """
    name = _installed(target) if is_folder(target) else target
    checks, package = checks_of(name, model), find_package(name)
    return checks if package is None else [*_of_package(package), *checks]


def _installed(folder: str) -> str:
    """The name of the distribution whose project is in a folder.

    Raises:
        LdmError: there is none, or it is not installed.
    """
    project, place = read_project(Path(folder)), shlex.quote(folder)
    if find_package(project.name) is None:
        raise LdmError(
            f"the package '{project.name}' of the folder '{folder}' is not installed, and its "
            "plugins are checked in this process, which imports what is.",
            f"`pip install -e {place}` installs it; `ldm plugins check {place}` does without.",
        )
    return project.name


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
        LdmError: see `every_test`.
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
    if name == "listing":
        _listed_here(distribution)
    return result.figure


def _listed_here(distribution: str) -> None:
    """Hold that this process, too, has the plugins, of which else no check is made.

    It may import the package from elsewhere: ``python -m pytest`` puts the folder that it is run
    in first on Python's path, and a module there is not the installed one.
    """
    registry = installed()
    for failure in registry.failures:
        ours = normalised(failure.distribution) == normalised(distribution)
        assert not ours, (
            f"in this process its plugins cannot be checked: {failure.reason}; where that is the "
            "project's own folder, `pip install -e` it, or run `pytest` in place of `python -m "
            "pytest`, which puts it on Python's path"
        )
    offered = {plugin.distribution for plugin in registry.plugins}
    offered |= {model.distribution for model in registry.models}
    assert distribution in offered, "in this process it offers nothing"


@cache
def _results(distribution: str) -> dict[str, Result]:
    return {r.check: r for r in run_checks(distribution, package_alone=True)}
