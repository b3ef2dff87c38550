"""Environments in which nothing of this project is installed but what a test puts there."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OFFLINE = ("--no-index", "--no-build-isolation", "--quiet")
"""Nothing can be downloaded: what builds a package is what builds it here."""
LISTING = """
import json, sys
from ldm_core.cli import main
for command in json.loads(sys.argv[1]):
    sys.argv = ["ldm", *command]
    try:
        main()
    except SystemExit as end:
        assert not end.code, (command, end.code)
"""


@dataclass(frozen=True)
class Environment:
    """A virtual environment, beneath which lies what this project depends on.

    Attributes:
        place: its folder.
        cwd: where its commands are run.
    """

    place: Path
    cwd: Path

    @classmethod
    def fresh(cls, place: Path) -> Environment:
        """One without this project: its packages, and those beneath it, are all there is."""
        venv.create(place / "venv", with_pip=False, symlinks=True)
        cwd = place / "work"
        cwd.mkdir()
        environment = cls(place / "venv", cwd)
        inside = {"base": str(environment.place), "platbase": str(environment.place)}
        site = Path(sysconfig.get_path("purelib", "venv", inside))
        # A path that a .pth file names has no .pth files of its own: no editable install counts.
        beneath = dict.fromkeys(path for path in sys.path if path.endswith("-packages"))
        (site / "beneath.pth").write_text("\n".join([*beneath, ""]))
        return environment

    def run(self, command: Sequence[Any], **variables: str) -> str:
        """What a command prints; it must end well."""
        return self.ran(command, **variables).stdout

    def ran(self, command: Sequence[Any], **variables: str) -> subprocess.CompletedProcess[str]:
        """A command that ended well."""
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        environment |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **variables}
        environment["PATH"] = f"{self.place / 'bin'}{os.pathsep}{environment['PATH']}"
        words = [str(word) for word in command]
        if words[0] == "pip":
            words = [*self.python, "-m", "pip", *words[1:], *OFFLINE]
        elif words[0] in ("python", "pytest"):
            words = [*self.python, *(["-m", "pytest"] if words[0] == "pytest" else []), *words[1:]]
        else:
            words[0] = str(self.place / "bin" / words[0])
        ran = subprocess.run(words, capture_output=True, text=True, env=environment, cwd=self.cwd)
        assert ran.returncode == 0, f"{words}\n{ran.stdout}\n{ran.stderr}"
        return ran

    @property
    def python(self) -> list[str]:
        return [str(self.place / "bin" / "python")]

    def install(self, *wheels: Path) -> None:
        """Install wheels as they are, over whatever lies beneath."""
        self.run(["pip", "install", "--no-deps", "--ignore-installed", *wheels])


def wheel_of(project: Path, into: Path) -> Path:
    """The wheel of a project, built by its own backend."""
    command = ["pip", "wheel", "--no-deps", *OFFLINE, "--wheel-dir", str(into), str(project)]
    ran = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    (wheel,) = into.iterdir()
    return wheel
