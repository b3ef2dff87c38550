"""How long `ldm plugins list` takes with fifty installed plugin packages, against none.

    PYTHONPATH=tests python benchmarks/listing.py [--packages 50] [--runs 11]

CPU seconds of whole processes, the two kinds in turn; the least of each, which what else the
machine does adds least to, and their ratio. All modules are compiled, as installers leave them; the
folder that packages are installed to is on the path in both.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import packages

PLUGIN = """
from ldm_core import hookimpl

ldm_api = ">=2,<3"


@hookimpl
def ldm_schedulers(register):
    register("scheduler_{number}", "plugin_{number}.schedulers:scheduler")


@hookimpl
def ldm_guidance(register):
    register("guidance_{number}", "plugin_{number}.schedulers:guidance")
"""
PARTS = '''
import torch


def scheduler(x, grid, denoise, noise, *, eta: float = 0.0):
    """A scheduler.

    Args:
        eta: Of it.
    """
    return x


def guidance(*, scale: float = 1.0):
    """A guidance."""
'''


def seconds(command: list[str], site: Path) -> float:
    """CPU seconds of one process and its children."""
    path = [str(site)]
    path += [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        command,
        check=True,
        capture_output=True,
        env={**variables, "PYTHONPATH": os.pathsep.join(path)},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def measure(count: int, runs: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as place:
        site, empty = Path(place, "packages"), Path(place, "none")
        site.mkdir()
        empty.mkdir()
        for number in range(count):
            name = f"plugin_{number}"
            packages.install(
                site,
                f"ldm-plugin-{number}",
                modules={
                    f"{name}/__init__.py": "",
                    f"{name}/plugin.py": PLUGIN.format(number=number),
                    f"{name}/schedulers.py": PARTS,
                },
                entry_points={"ldm": {"plugin": f"{name}.plugin"}},
            )
        command = [sys.executable, "-P", "-m", "ldm_core", "plugins", "list"]
        for one in (empty, site):  # bytecode is written
            seconds(command, one)
        without, with_them = [], []
        for _ in range(runs):
            without.append(seconds(command, empty))
            with_them.append(seconds(command, site))
    none, all_ = min(without), min(with_them)
    return {
        "packages": count,
        "runs": runs,
        "without": round(none, 4),
        "with": round(all_, 4),
        "ratio": round(all_ / none, 3),
        "python": platform.python_version(),
        "processor": platform.processor() or platform.machine(),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=int, default=50)
    parser.add_argument("--runs", type=int, default=11)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.packages, arguments.runs)))
