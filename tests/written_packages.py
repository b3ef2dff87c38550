"""Plugin packages that tests write, and what checks say of them in a fork of this process."""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ldm_core.conformance.checks import Result
from ldm_core.conformance.kinds import checks_of_kind
from ldm_core.conformance.package import patches
from ldm_core.conformance.package.evidence import gather, warm_up
from ldm_core.conformance.package.listing import Listing
from ldm_core.conformance.packages import find_package
from ldm_core.conformance.project_folder import read_project
from ldm_core.conformance.worker import of_package
from ldm_core.plugins.discovery import once

PLUGIN = '''
"""A package under test."""
from ldm_core import hookimpl

ldm_api_version = 2


@hookimpl
def ldm_schedulers(register):
    register("mine", "{module}.parts:mine")
'''
PARTS = '''
"""Its parts."""
from itertools import pairwise


def mine(x, grid, denoise, noise, *, amount: float = 1.0):
    """DDIM, so far.

    Args:
        amount: of it.
    """
    for here, there in pairwise(grid):
        x0 = amount * denoise(x, here)
        x = there.alpha * x0 + there.sigma / here.sigma * (x - here.alpha * x0)
    return x
'''
PROJECT = """
[project]
name = "ldm-mine"
version = "0.1"
license = "MIT"
dependencies = ["ldm-core>=0.2,<1"]

[project.entry-points.ldm]
mine = "{module}"
"""


def write_package(
    folder: Path,
    module: str,
    plugin: str = PLUGIN,
    parts: str = PARTS,
    project: str = PROJECT,
    more: Mapping[str, str] | None = None,
) -> Path:
    """A project's folder, of a package with one scheduler, or with what is written in its place.

    Args:
        module: its name, which each test chooses for itself.
        more: other files of the package, by name.
    """
    package = folder / module
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(plugin.replace("{module}", module))
    (package / "parts.py").write_text(parts)
    (folder / "pyproject.toml").write_text(project.replace("{module}", module))
    for name, text in (more or {}).items():
        (package / name).write_text(text)
    return folder


def package_results(
    folder: Path, scratch: Path, fresh: Listing | None = None, hosts: frozenset[str] | None = None
) -> dict[str, Result]:
    """What comes of the checks of a package as a whole, by name, made in a fork.

    Args:
        fresh: what listing it in a process of its own is taken to have done.
        hosts: the packages alone that are looked at for patches, which takes a second for all.
    """
    (results,) = results_of_packages([folder], scratch, fresh, hosts)
    return results


def results_of_packages(
    folders: Sequence[Path],
    scratch: Path,
    fresh: Listing | None = None,
    hosts: frozenset[str] | None = None,
) -> list[dict[str, Result]]:
    """The same of several packages, one after the other in one fork."""
    scratch.mkdir()
    warm_up()
    checks_of_kind("scheduler")
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(out)
            if hosts is not None:
                patches.HOSTS = hosts
            every = [_here(f, scratch / str(i), fresh) for i, f in enumerate(folders)]
            with os.fdopen(into, "w") as file:
                json.dump(every, file)
            code = 0
        except BaseException:  # of which nobody else would hear
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(into)
    with os.fdopen(out) as file:
        text = file.read()
    assert os.waitpid(child, 0)[1] == 0
    listed: list[Any] = json.loads(text)
    return [{r["check"]: Result(**r) for r in results} for results in listed]


def _here(folder: Path, scratch: Path, fresh: Listing | None) -> list[dict[str, Any]]:
    project = read_project(folder)
    scratch.mkdir()
    before = [*sys.path]
    sys.path[:0] = map(str, project.as_installed(scratch))
    importlib.invalidate_caches()
    once.cache_clear()
    package = find_package(project.name)
    assert package is not None
    evidence = gather(package, fresh)
    results = [asdict(check.result()) for check in of_package(evidence)]
    sys.path[:] = before
    return results
