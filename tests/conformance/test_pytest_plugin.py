"""Checks as tests: by a flag of pytest, and by three lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ldm_core.conformance import parametrize_with_checks
from ldm_core.conformance.plugin_checks import PluginCheck

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


@parametrize_with_checks("observer:progress_bar")
def test_three_lines_make_a_test_of_each_check(check: PluginCheck) -> None:
    check()


def test_they_are_named_by_plugin_and_check() -> None:
    mark = parametrize_with_checks("png").mark  # type: ignore[attr-defined]
    names = [case.id for case in mark.args[1]]
    assert "writer png: readable" in names
    assert not any(isinstance(case.values[0], pytest.Mark) for case in mark.args[1])
