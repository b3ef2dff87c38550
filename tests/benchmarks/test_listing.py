"""Fifty installed packages make a list of plugins little slower, and import no torch."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import packages

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_fifty_packages_cost_at_most_three_tenths() -> None:
    """Processor seconds of whole processes, the two kinds in turn."""
    listing = runpy.run_path(str(ROOT / "benchmarks" / "listing.py"))
    assert listing["measure"](50, 9)["ratio"] <= 1.3


def test_listing_packages_imports_neither_torch_nor_their_parts(tmp_path: Path) -> None:
    listing = runpy.run_path(str(ROOT / "benchmarks" / "listing.py"))
    modules = {
        "plugin_0/__init__.py": "",
        "plugin_0/plugin.py": listing["PLUGIN"].format(number=0),
        "plugin_0/schedulers.py": listing["PARTS"],
    }
    entries = {"ldm": {"plugin": "plugin_0.plugin"}}
    packages.install(tmp_path, "ldm-plugin-0", modules=modules, entry_points=entries)
    code = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}]; from ldm_core.cli import main\n"
        "sys.argv = ['ldm', 'plugins', 'list']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print('HEAVY', sorted({'torch', 'plugin_0.schedulers'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.endswith("HEAVY []\n"), run.stdout + run.stderr
    assert "scheduler_0\tldm-plugin-0\t1.0\tA scheduler." in run.stdout
