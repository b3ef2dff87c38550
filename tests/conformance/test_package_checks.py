"""Each check of a package as a whole sees one that is wrong in its way, and no other does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ldm_core.conformance.checks import CHECKS, Result
from ldm_core.conformance.package.listing import Listing, fresh_listing
from ldm_core.conformance.project_folder import read_project
from written_packages import (
    PARTS,
    PLUGIN,
    PROJECT,
    package_results,
    results_of_packages,
    write_package,
)

QUICK = Listing(cpu=0.01, wall=0.01)
AT_IMPORT = {
    "prints": ("print('hello')", {"standard_output"}),
    "writes to fd 1": ("import os; os.write(1, b'hello')", {"standard_output"}),
    "default dtype": ("import torch; torch.set_default_dtype(torch.float64)", {"default_dtype"}),
    "seeds torch": ("import torch; torch.manual_seed(0)", {"random_state"}),
    "draws": ("import random; random.random()", {"random_state"}),
    "seeds numpy": ("import numpy; numpy.random.seed(1)", {"random_state"}),
    "environment": ("import os; os.environ['HF_HOME'] = '/tmp/x'", {"environment"}),
    "folder": ("import os; os.chdir('/')", {"working_folder"}),
    "umask": ("import os; os.umask(0o077)", {"working_folder"}),
    "signal": (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        {"signals"},
    ),
    "path": ("import sys; sys.path.insert(0, '/opt')", {"python_path"}),
    "filters": ("import warnings; warnings.simplefilter('ignore')", {"warning_filters"}),
    "logging": ("import logging; logging.basicConfig(level=10, force=True)", {"logging"}),
    "threads": ("import torch; torch.set_num_threads(7)", {"torch_settings"}),
    "gradients": ("import torch; torch.set_grad_enabled(False)", {"torch_settings"}),
    "deterministic": (
        "import torch; torch.use_deterministic_algorithms(True)",
        {"torch_settings"},
    ),
    "excepthook": ("import sys; sys.excepthook = lambda *a: None", {"streams"}),
    "locale": ("import locale; locale.setlocale(locale.LC_ALL, 'C.UTF-8')", {"streams"}),
    "patches torch": (
        "import torch.nn.functional as F; F.gelu = lambda x, approximate='none': x",
        {"patches"},
    ),
    "patches a class": (
        "from diffusers import UNet2DConditionModel as U\nU.forward = lambda self, *a: None",
        {"patches"},
    ),
    "adds to a class": ("import torch; torch.Tensor.mine = lambda self: self", {"patches"}),
    "patches the host": (
        "import ldm_core.plugins.registry as r; r.Registry.find = lambda *a: None",
        {"patches"},
    ),
    "patches builtins": ("import builtins; builtins.ascii = lambda *a: ''", {"patches"}),
    "replaces a module": (
        "import sys, types; import diffusers; sys.modules['diffusers'] = types.ModuleType('d')",
        {"patches"},
    ),
}
"""What a module does where it is imported, and the check that says so."""


WHEN_MADE = ("prints", "default dtype", "draws", "environment", "excepthook", "patches torch")
OFTEN = ("prints", "default dtype", "draws", "environment", "signal", "patches a class")
SLOW = [pytest.mark.slow]
FEW = frozenset({"builtins"})


@pytest.mark.parametrize(
    ("where", "name"),
    [
        *(pytest.param("listed", name, marks=[] if name in OFTEN else SLOW) for name in AT_IMPORT),
        *(pytest.param("made", name, marks=SLOW) for name in WHEN_MADE),
    ],
)
def test_what_a_module_changes_is_said(name: str, where: str, tmp_path: Path) -> None:
    line, expected = AT_IMPORT[name]
    plugin, parts = PLUGIN, PARTS
    if where == "listed":
        plugin += f"\n{line}\n"
    else:
        parts += f"\n{line}\n"
    module = f"mine_{where}_{list(AT_IMPORT).index(name)}"
    folder = write_package(tmp_path / "p", module, plugin, parts)
    hosts = None if expected == {"patches"} else FEW
    results = package_results(folder, tmp_path / "s", QUICK, hosts)
    failed = {name: r.reason for name, r in results.items() if r.outcome == "failed"}
    assert set(failed) == expected, failed
    assert ("while it is listed" in str(failed)) == (where == "listed" and expected != {"patches"})


RIGHT = {"plugin": PLUGIN, "parts": PARTS, "project": PROJECT}
WRONG: dict[str, tuple[dict[str, str], set[str]]] = {
    "right": ({}, set()),
    "raises": ({"plugin": PLUGIN + "\n1 / 0\n"}, {"listing"}),
    "offers nothing": ({"plugin": "ldm_api_version = 2\n"}, {"listing"}),
    "misspelt hook": (
        {"plugin": PLUGIN.replace("ldm_schedulers", "ldm_scheduler")},
        {"listing"},
    ),
    "no api": ({"plugin": PLUGIN.replace("ldm_api_version = 2", "")}, {"listing", "hook_api"}),
    "a colon": ({"plugin": PLUGIN.replace('"mine"', '"mi:ne"')}, {"listing", "names"}),
    "two words": ({"plugin": PLUGIN.replace('"mine"', '"my own"')}, {"listing", "names"}),
    "twice": (
        {
            "plugin": PLUGIN.replace(
                'register("mine"', 'register("mine", "{module}.parts:mine"); register("mine"'
            )
        },
        {"listing", "names"},
    ),
    "a core command": (
        {
            "plugin": PLUGIN.replace("ldm_schedulers", "ldm_commands").replace(
                '"mine"', '"generate"'
            )
        },
        {"listing", "names"},
    ),
    "no target": (
        {"plugin": PLUGIN.replace("parts:mine", "parts:gone")},
        {"targets"},
    ),
    "no module": ({"plugin": PLUGIN.replace("parts:mine", "gone:mine")}, {"targets"}),
    "no docstring": (
        {"parts": PARTS.replace('"""DDIM, so far.', '"""').replace("Args:", "x")},
        {"docs"},
    ),
    "no help": ({"parts": PARTS.replace("amount: of it.", "it: helps.")}, {"docs"}),
    "no star": ({"parts": PARTS.replace("*, amount", "amount")}, {"options"}),
    "unread": ({"parts": PARTS.replace("amount * ", "")}, {"options"}),
    "no annotation": ({"parts": PARTS.replace("amount: float = 1.0", "amount=1.0")}, {"options"}),
    "no fit": ({"parts": PARTS.replace("float = 1.0", 'float = "much"')}, {"options"}),
    "no licence": ({"project": PROJECT.replace('license = "MIT"', "")}, {"metadata"}),
    "no requirement": (
        {"project": PROJECT.replace('["ldm-core>=0.2,<1"]', "[]")},
        {"metadata"},
    ),
    "any version": ({"project": PROJECT.replace(">=0.2,<1", "")}, {"metadata"}),
    "no version": (
        {"project": PROJECT.replace('version = "0.1"', 'version = "first"')},
        {"metadata"},
    ),
    "another version": ({"project": PROJECT.replace(">=0.2,<1", ">=5")}, {"metadata"}),
    "no reason": (
        {"plugin": PLUGIN + '\nexpected_failures = {"scheduler mine: order": " "}\n'},
        {"declarations"},
    ),
    "unknown failure": (
        {"plugin": PLUGIN + '\nexpected_failures = {"scheduler mine: ordr": "it is new"}\n'},
        {"declarations"},
    ),
    "no table": (
        {"plugin": PLUGIN + '\nexpected_failures = ["order"]\n'},
        {"declarations"},
    ),
    "options of nobody": (
        {"plugin": PLUGIN + '\ncheck_options = {"scheduler yours": {"amount": 2}}\n'},
        {"declarations"},
    ),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Result]]:
    """Of each wrong package."""
    folder = tmp_path_factory.mktemp("wrong")
    folders = [
        write_package(folder / str(i), f"mine_wrong_{i}", **{**RIGHT, **changed})
        for i, (changed, _) in enumerate(WRONG.values())
    ]
    every = results_of_packages(folders, folder / "scratch", QUICK, FEW)
    return dict(zip(WRONG, every, strict=True))


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_package_fails_its_check_and_no_other(
    name: str, results: dict[str, dict[str, Result]]
) -> None:
    failed = {name: r.reason for name, r in results[name].items() if r.outcome == "failed"}
    assert set(failed) == WRONG[name][1], failed
    assert name != "misspelt hook" or "Did you mean 'ldm_schedulers'?" in failed["listing"]


def test_a_module_that_another_package_brings_is_said(tmp_path: Path) -> None:
    """As one that calls its entry point's module `pluggy`."""
    folder = write_package(tmp_path / "p", "pluggy")
    results = package_results(folder, tmp_path / "s", QUICK, FEW)
    assert "also belongs to pluggy" in results["own_module"].reason


@pytest.mark.parametrize(
    ("line", "check", "said"),
    [
        ("import scipy", "heavy_imports", "import scipy"),
        ("import time; time.sleep(2.1)", "import_seconds", "by the clock"),
        ("[i * i for i in range(20_000_000)]", "import_seconds", "of the processor"),
    ],
)
def test_a_process_of_its_own_sees_what_listing_costs(
    line: str, check: str, said: str, tmp_path: Path
) -> None:
    module = f"mine_fresh_{abs(hash(line))}"
    folder = write_package(tmp_path / "p", module, PLUGIN + f"\n{line}\n")
    (scratch := tmp_path / "fresh").mkdir()
    paths = os.pathsep.join(map(str, read_project(folder).as_installed(scratch)))
    environment = {**os.environ, "PYTHONPATH": f"{paths}:{os.environ.get('PYTHONPATH', '')}"}
    fresh = fresh_listing("ldm-mine", 30, environment)
    right = write_package(tmp_path / "q", f"{module}_right")
    results = package_results(right, tmp_path / "s", fresh, FEW)
    failed = {name: r.reason for name, r in results.items() if r.outcome == "failed"}
    assert check in failed
    assert said in failed[check]
    assert set(failed) <= {"heavy_imports", "import_seconds"}


def test_what_ends_the_process_or_hangs_while_it_is_listed_is_said(tmp_path: Path) -> None:
    for i, (line, limit, said) in enumerate(
        [
            ("import os; os._exit(3)", 60, "with code 3"),
            ("raise SystemExit('I go')", 60, "SystemExit: I go"),
            ("while True: pass", 2, "not listed within 2 s"),
        ]
    ):
        folder = write_package(tmp_path / str(i), f"mine_ends_{i}", PLUGIN + f"\n{line}\n")
        (scratch := tmp_path / f"s{i}").mkdir()
        paths = os.pathsep.join(map(str, read_project(folder).as_installed(scratch)))
        environment = {**os.environ, "PYTHONPATH": f"{paths}:{os.environ.get('PYTHONPATH', '')}"}
        seen = fresh_listing("ldm-mine", limit, environment)
        assert said in seen.error
        assert seen.ended == ("SystemExit" not in said)


def test_every_check_of_packages_is_seen_to_fail() -> None:
    seen = {check for _, checks in (*WRONG.values(), *AT_IMPORT.values()) for check in checks}
    elsewhere = {"certificate", "own_module", "heavy_imports", "import_seconds"}
    assert seen | elsewhere == {check.name for check in CHECKS["package"]}
