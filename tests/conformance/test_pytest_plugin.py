"""Checks as tests: by a flag of pytest, and by three lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ldm_core.conformance import every_test, parametrize_with_checks, suites
from ldm_core.conformance.checks import Result
from ldm_core.conformance.plugin_checks import PluginCheck
from ldm_core.conformance.project_folder import read_project
from ldm_core.errors import LdmError
from ldm_core.plugins.discovery import once
from ldm_core.plugins.entries import Failure
from ldm_core.plugins.registry import Registry
from written_packages import PLUGIN as WRITTEN
from written_packages import write_package

PLUGIN = "ldm_core.conformance.pytest_plugin"
HEAVY = "torch numpy diffusers ldm_core.plugins ldm_core.contracts"


def run_pytest(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", PLUGIN, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        check=False,
    )


def test_who_does_not_use_it_pays_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(
        "import sys\n\ndef test_nothing_heavy_is_imported():\n"
        f"    heavy = {HEAVY.split()!r}\n"
        "    assert [m for m in heavy if m in sys.modules] == []\n"
    )
    run = run_pytest(tmp_path)
    assert "1 passed" in run.stdout, run.stdout


def test_a_flag_makes_a_test_of_each_check(tmp_path: Path) -> None:
    run = run_pytest(tmp_path, "--ldm-check", "spacing:karras", "--ldm-check", "png", "-v")
    assert run.returncode == 0, run.stdout
    assert "ldm-check[spacing karras: well_formed] PASSED" in run.stdout
    assert "ldm-check[writer png: readable] PASSED" in run.stdout
    chosen = run_pytest(tmp_path, "--ldm-check", "ldm-corr")
    assert chosen.returncode == 4
    assert "Did you mean 'ldm-core'" in chosen.stderr


@pytest.mark.slow
def test_those_of_a_package_are_made_in_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that sets the root logger's level: the test of that fails, and no other."""
    plugin = WRITTEN + "\nimport logging\nlogging.getLogger().setLevel(10)\n"
    plugin += 'expected_failures = {"scheduler mine: repeats": "so it says"}\n'
    project = read_project(write_package(tmp_path / "p", "mine_by_pytest", plugin))
    (scratch := tmp_path / "s").mkdir()
    paths = [*map(str, project.as_installed(scratch)), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    run = run_pytest(tmp_path, "--ldm-check", "ldm-mine", "-rf")
    assert run.returncode == 1, run.stdout
    (failed,) = [line for line in run.stdout.splitlines() if line.startswith("FAILED")]
    assert "ldm-check[package: logging]" in failed
    assert "level: 30 became 10" in run.stdout
    assert "1 xpassed" in run.stdout


def test_a_process_that_has_not_its_plugins_fails_the_listing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As `python -m pytest` in a folder with another copy of the package: no check would be made
    of its plugins, and all tests pass."""
    registry, listed = Registry(), Result("package", "listing", "passed", "1 plugins")
    monkeypatch.setattr(suites, "_results", lambda distribution: {"listing": listed})
    monkeypatch.setattr(suites, "installed", lambda: registry)
    with pytest.raises(AssertionError, match="it offers nothing"):
        suites._looked_up("listing", "ldm-mine")
    registry.failures.append(Failure("mine", "LDM_mine", "its module is another's"))
    with pytest.raises(AssertionError, match="cannot be checked: its module is another's"):
        suites._looked_up("listing", "ldm-mine")


@parametrize_with_checks("observer:progress_bar")
def test_three_lines_make_a_test_of_each_check(check: PluginCheck) -> None:
    check()


def test_they_are_named_by_plugin_and_check() -> None:
    mark = parametrize_with_checks("png").mark  # type: ignore[attr-defined]
    names = [case.id for case in mark.args[1]]
    assert "writer png: readable" in names
    assert not any(isinstance(case.values[0], pytest.Mark) for case in mark.args[1])


def test_a_projects_folder_stands_for_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_package(tmp_path / "p", "mine_by_folder")
    with pytest.raises(LdmError, match=r"'ldm-mine' of the folder .* is not installed") as raised:
        every_test(str(folder))
    assert f"pip install -e {folder}" in str(raised.value)
    (scratch := tmp_path / "s").mkdir()
    for path in read_project(folder).as_installed(scratch):
        monkeypatch.syspath_prepend(str(path))
    once.cache_clear()
    ids = [check.id for check in every_test(str(folder))]
    assert ids == [check.id for check in every_test("ldm-mine")]
    assert {"package: logging", "scheduler mine: order"} <= {*ids}
    monkeypatch.undo()
    once.cache_clear()
