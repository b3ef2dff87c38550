"""What a neighbour does to torch and to what others use while it is imported, and what it warns of
while it is used."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from ldm_core.errors import LdmWarning
from ldm_core.plugins.contents import Contents
from neighbours.wrong_modules import HEAD, install

PATCHES = f"""{HEAD}
import torch
def other(*_, **__):
    return torch.zeros(1)
torch.nn.Linear.forward = other
torch.Tensor.__add__ = other
torch.nn.functional.silu = other
"""


def test_what_is_put_in_the_place_of_torchs_own_is_put_back(site: Path, ldm: Any) -> None:
    """Where torch was there before, as in a program that uses it."""
    forward, silu = torch.nn.Linear.forward, torch.nn.functional.silu
    install(site, "patches", PATCHES)
    code, _, err = ldm("plugins", "list")
    assert code == 0
    (line,) = [line for line in err.splitlines() if "ldm-patches 1.0 changed" in line]
    assert "torch.nn.modules.linear.Linear.forward" in line
    assert "torch.Tensor.__add__" in line
    assert "torch.nn.functional.silu" in line
    assert line.endswith("that was put back")
    assert torch.nn.Linear.forward is forward
    assert torch.nn.functional.silu is silu
    assert "__add__" not in vars(torch.Tensor)
    assert (torch.ones(1) + 1).item() == 2


def test_what_is_changed_of_a_torch_that_came_with_the_package_is_put_back(site: Path) -> None:
    """It is known from the moment at which torch had come, before the package went on."""
    install(site, "patches", PATCHES)
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "from ldm_core.cli import main\n"
        "sys.argv = ['ldm', 'plugins', 'list', '--json']\n"
        "try:\n    main()\nfinally:\n"
        "    import torch\n"
        "    layer = torch.nn.Linear(2, 3)\n"
        "    gave = layer(torch.ones(1, 2)).shape, torch.nn.functional.silu(torch.ones(2)).shape\n"
        "    print(*gave, (torch.ones(1) + 1).item(), file=sys.stderr)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    (line,) = [line for line in run.stderr.splitlines() if "changed" in line]
    assert line.startswith("warning: the package ldm-patches 1.0 changed torch's own torch.Tensor.")
    for words in ("Tensor.__add__", "Linear.forward", "functional.silu"):
        assert words in line
    assert line.endswith("that was put back")
    assert run.stderr.endswith("torch.Size([1, 3]) torch.Size([2]) 2.0\n")


WARNS = f"""{HEAD}
import warnings
from itertools import pairwise

def warner(x, grid, denoise, noise):
    warnings.warn("steps are many", stacklevel=1)
    warnings.warn("this goes away", DeprecationWarning, stacklevel=1)
    for here, there in pairwise(grid):
        x0 = denoise(x, here)
        warnings.warn("a step was made", RuntimeWarning, stacklevel=1)
        kept = there.sigma / here.sigma
        x = kept * x + (there.alpha - kept * here.alpha) * x0
    return x

@hookimpl
def ldm_schedulers(register):
    register("warner", warner)
"""


def test_what_a_plugin_warns_of_in_a_run_is_said_with_its_name(
    site: Path, ldm: Any, folder: Path, tmp_path: Path
) -> None:
    install(site, "warns", WARNS)
    words = ["generate", "star", "--scheduler", "warner", "--steps", "2", "--seed", "1"]
    with warnings.catch_warnings():  # as Python has them where nobody says anything
        warnings.simplefilter("default")
        warnings.simplefilter("ignore", DeprecationWarning)
        code, out, err = ldm(*words, "--model", folder, "--out", tmp_path / "out")
    assert (code, out.count(".png")) == (0, 1)
    said = [line for line in err.splitlines() if "warns: " in line]
    assert said == [
        "warning: the package ldm-warns 1.0 warns: steps are many (UserWarning)",
        "warning: the package ldm-warns 1.0 warns: a step was made (RuntimeWarning)",
    ]  # once each, and nothing that is for developers alone


def test_a_library_that_warns_is_nobody_elses_fault(site: Path) -> None:
    from ldm_core.plugins.warned import told

    install(site, "warns", WARNS)
    assert told("w", UserWarning, torch.__file__) is None
    assert told("w", LdmWarning, torch.__file__) == "w"


def test_a_record_of_ours_that_was_read_before_is_put_back(tmp_path: Path) -> None:
    """A scheduler is no function, and what stands for it here is none of a library's."""
    import ldm_plugins.schedulers.euler as module

    stranger = ModuleType("stranger")
    stranger.__file__ = str(tmp_path / "stranger.py")
    exec(compile("def euler(x):\n    return 0 * x", stranger.__file__, "exec"), vars(stranger))
    ours, changed = module.euler, list[str]()
    before = Contents()
    sys.modules["stranger"] = stranger
    try:
        module.euler = vars(stranger)["euler"]
        before.put_back("stranger", changed)
        assert module.euler is ours
        assert changed == ["what others use (ldm_plugins.schedulers.euler.euler)"]
    finally:
        module.euler = ours
        del sys.modules["stranger"]


def test_what_one_package_brings_is_there_for_the_next_and_is_put_back_for_it() -> None:
    """As a module that is imported stands in its package from then on."""
    import json

    before, changed = Contents(), list[str]()
    vars(json)["brought"] = one = object()
    try:
        before.put_back("first", changed)
        assert changed == []
        vars(json)["brought"] = None
        before.put_back("second", changed)
        assert vars(json)["brought"] is one
        assert changed == ["what others use (json.brought)"]
    finally:
        del vars(json)["brought"]
