"""``ldm plugins check``: a process of its own, its results in order, its exit code, its JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ldm_core.conformance import runner
from ldm_core.conformance.checks import Check, NotApplicable, Result
from ldm_core.conformance.declared import Declared
from ldm_core.conformance.plugin_checks import PluginCheck, checks_of, plugins_of
from ldm_core.conformance.project_folder import read_project
from ldm_core.conformance.runner import run_checks
from ldm_core.errors import LdmError
from ldm_core.plugins import discovery
from ldm_core.plugins.hookspecs import HOOK_API
from ldm_core.plugins.registry import installed
from written_packages import PARTS, PLUGIN, PROJECT, write_package
from wrong_plugins import results_of

WORKER = """
import json, os, sys, time
order = json.loads(sys.argv[1])
checks = {checks}
def say(**words):
    print(json.dumps(words), flush=True)
say(begin=-1, result=dict(plugin="package", check="listing", outcome="passed"))
for i, (name, act) in enumerate(checks):
    if i < order["begin"]:
        continue
    known = "it does" if "known" in act else ""
    say(begin=i, result=dict(plugin="scheduler mine", check=name, outcome="failed", reason=known))
    exec(act)
    say(end=i, result=dict(plugin="scheduler mine", check=name, outcome="passed", figure="1.0"))
say(done=True)
"""


@pytest.fixture
def works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Result]]:
    """The results of a process that does these things at its checks."""

    def run(*acts: str, limit: float = 1.0) -> list[Result]:
        script = tmp_path / "worker.py"
        checks = [(f"check{i}", act) for i, act in enumerate(acts)]
        script.write_text(WORKER.replace("{checks}", repr(checks)))
        monkeypatch.setattr(runner, "WORKER", (sys.executable, "-S", str(script)))
        monkeypatch.setattr(runner, "START", 5.0)
        return [*run_checks("mine", limit=limit)]

    return run


def test_what_ends_the_process_or_does_not_end_has_failed_and_the_rest_goes_on(works: Any) -> None:
    results = works(
        "pass",
        "os._exit(3)",
        "time.sleep(30)",
        "print('{ not json'.lstrip('{')); sys.stderr.write('noise\\n')",
        "os.kill(os.getpid(), 11)",
        "raise SystemExit('I go')",
        "known = os._exit(4)",
        "pass",
    )
    said = [(r.check, r.outcome, r.reason) for r in results]
    assert said == [
        ("check0", "passed", ""),
        ("check1", "failed", "it ended the process with code 3"),
        ("check2", "failed", "it did not end within 1 seconds"),
        ("check3", "passed", ""),
        ("check4", "failed", "it ended the process with signal 11 noise"),
        ("check5", "failed", "it ended the process with code 1 I go"),
        ("check6", "expected", "it does (it ended the process with code 4)"),
        ("check7", "passed", ""),
    ]
    assert str(results[0]) == "PASS  scheduler mine  check0  1.0"
    assert str(results[1]).startswith("FAIL  scheduler mine  check1  it ended")


def test_one_that_others_leave_no_time_is_let_be(works: Any) -> None:
    """It computes a fifth of the time, and needs longer than it may by the clock."""
    turns = "\n    ".join(
        [
            "for turn in range(15):",
            "until = time.process_time() + 0.02",
            "while time.process_time() < until: pass",
            "time.sleep(0.08)",
        ]
    )
    results = works(turns, "while True: pass", "pass")
    said = [(r.outcome, r.reason) for r in results]
    late = "it did not end within 1 seconds"
    assert said == [("passed", ""), ("failed", late), ("passed", "")]


def check_of(function: Any, expected: str | None = None) -> PluginCheck:
    return PluginCheck("scheduler mine", Check("scheduler", "order", function), None, expected)


def raising(error: BaseException) -> Any:
    def check(subject: Any) -> str | None:
        raise error

    return check


@pytest.mark.parametrize(
    ("function", "expected", "outcome", "said"),
    [
        (lambda subject: "2.00", None, "passed", ""),
        (raising(AssertionError("one\n  two")), None, "failed", "one two"),
        (raising(LdmError("no such")), None, "failed", "no such"),
        (raising(SystemExit(0)), None, "failed", "SystemExit: 0 (test_check_command.py:"),
        (raising(ValueError("bad")), None, "failed", "ValueError: bad (test_check_command.py:"),
        (raising(NotApplicable("none")), None, "skipped", "none"),
        (raising(ValueError("bad")), "it is new", "expected", "it is new (ValueError: bad"),
        (lambda subject: None, "it is new", "passed", "it passes, and is declared to fail"),
    ],
)
def test_what_comes_of_a_check(function: Any, expected: Any, outcome: str, said: str) -> None:
    result = check_of(function, expected).result()
    assert result.outcome == outcome
    assert said in result.reason
    assert "\n" not in str(result)


def test_an_interrupt_is_no_result() -> None:
    with pytest.raises(KeyboardInterrupt):
        check_of(raising(KeyboardInterrupt())).result()


def test_what_is_named_may_be_spelt_in_every_way() -> None:
    assert {p.kind for p in plugins_of("LDM_core", installed())} >= {"scheduler", "model"}
    for name in ("euler", "ldm-core:euler", "scheduler:euler", "scheduler:ldm-core:euler"):
        assert [p.id for p in plugins_of(name, installed())] == ["ldm-core:euler"]
    for name in ("shapes", "model:shapes"):
        assert [p.kind for p in plugins_of(name, installed())] == ["model"]
    assert {p.kind for p in plugins_of("pixels", installed())} == {"encoder", "decoder"}
    (one,) = plugins_of("diffusers:DDIMScheduler", installed())
    assert one.member == "DDIMScheduler"
    with pytest.raises(LdmError, match="Did you mean 'euler'"):
        plugins_of("eulr", installed())


def test_the_order_of_checks_is_always_the_same() -> None:
    ids = [check.id for check in checks_of("heun")]
    assert ids == [check.id for check in checks_of("heun")]
    assert ids[:2] == ["scheduler heun: made", "scheduler heun: shape_and_type"]
    assert len(ids) == len(set(ids))


def test_why_a_plugin_cannot_be_made_is_said_once(tmp_path: Path, ldm: Any) -> None:
    file = tmp_path / "mine_early.py"
    register = 'register("mine", "{module}.parts:mine")'
    offers = PLUGIN.replace(register, 'register("mine", "mine_early:mine")')
    file.write_text(offers + PARTS.replace("*, amount", "amount"))
    _, out, _ = ldm("plugins", "check", "local", "--plugin", file)
    made, *others = [line for line in out.splitlines() if line.startswith("FAIL")]
    assert "stands before the '*'" in made
    assert "; it is for that package to mend" in made
    assert len(others) > 10
    assert all(line.endswith("  it cannot be made, as its check 'made' says") for line in others)


def test_a_set_and_a_plugin_that_needs_options_say_what_is_to_be_said() -> None:
    def needy(x: Any, grid: Any, denoise: Any, noise: Any, *, amount: float) -> Any:
        """It needs an amount."""
        return x

    (made,) = results_of("scheduler", needy).values()
    assert made.outcome == "skipped"
    assert 'check_options = {"scheduler mine": {"amount": ...}}' in made.reason
    given = Declared(check_options={"scheduler mine": {"amount": 2.0}})
    assert len(results_of("scheduler", needy, declared=given)) > 10
    torchdiffeq = [c for c in checks_of("ldm-core") if c.plugin == "scheduler torchdiffeq:"]
    assert [c.result().reason for c in torchdiffeq] == [
        "it offers a set; name one of it, as `ldm plugins check torchdiffeq:NAME`"
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "has no pyproject.toml"),
        ("not toml =", "is no TOML"),
        ("[project]\nname = 'x'\n", "offers no plugins"),
        (PROJECT.replace("{module}", "gone"), "there is no 'gone'"),
    ],
)
def test_a_folder_that_is_no_project_is_refused(tmp_path: Path, text: Any, said: str) -> None:
    if text is not None:
        (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(LdmError, match=said):
        read_project(tmp_path)


def test_a_project_with_its_modules_in_src_is_found(tmp_path: Path) -> None:
    write_package(tmp_path / "src", "mine_in_src")
    os.rename(tmp_path / "src" / "pyproject.toml", tmp_path / "pyproject.toml")
    assert read_project(tmp_path).roots == (tmp_path / "src",)


OBSERVER = """

@hookimpl
def ldm_observers(register):
    register("ends", "{module}.parts:ends")
"""
ENDS = """

def ends(grid):
    \"\"\"It ends the program.\"\"\"
    import os
    os._exit(7)
"""


def test_a_folder_is_checked_from_the_command_line(
    ldm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scheduler that is right, of whose checks one is declared to fail, and an order that is
    not its own."""
    plugin = PLUGIN + (
        '\nexpected_failures = {"order": "of_order says more", "scheduler mine: repeats": "no"}\n'
    )
    parts = PARTS.replace(
        "\ndef mine", "\nfrom ldm_core.contracts import of_order\n\n@of_order(2)\ndef mine"
    )
    folder = write_package(tmp_path / "p", "mine_by_command", plugin, parts)
    monkeypatch.chdir(folder)
    file = folder / "mine_by_command" / "ldm-certificate.json"
    code, out, err = ldm("plugins", "check", ".", "--certificate", file)
    lines = out.splitlines()
    assert code == 0, out + err
    assert lines[0].startswith("PASS  package  listing  1 plugins")
    (order,) = [line for line in lines if line.startswith("XFAIL")]
    assert "scheduler mine  order  of_order says more (the scheduler declares the order 2" in order
    (repeats,) = [line for line in lines if "mine  repeats" in line]
    assert "it passes, and is declared to fail (no): take that back" in repeats
    assert lines[-2].startswith("PASS  scheduler mine  leaves_no_trace")
    assert "1 failed as declared" in lines[-1]
    certificate = json.loads(file.read_text())
    assert certificate["package"] == "ldm-mine"
    assert set(certificate["files"]) == {
        "mine_by_command/__init__.py",
        "mine_by_command/parts.py",
    }
    assert len(certificate["results"]) == len(lines) - 1


def test_a_plugin_in_a_file_is_checked(
    ldm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it declares counts, and what lies in the folder that it is checked in does not."""
    (tmp_path / "dataclasses.py").write_text("raise SystemExit(9)")
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", "") + os.pathsep)
    monkeypatch.setattr(discovery, "_files", ())
    file = tmp_path / "mine_in_a_file.py"
    register = 'register("mine", "{module}.parts:mine")'
    offers = PLUGIN.replace(register, 'register("mine", "mine_in_a_file:mine")')
    assert offers != PLUGIN
    file.write_text(offers + PARTS + "\nexpected_failures = {'shape_and_type': 'no'}\n")
    code, out, err = ldm("plugins", "check", "local", "--plugin", file)
    assert code == 0, out + err
    assert "PASS  scheduler mine  made" in out
    assert "it passes, and is declared to fail (no): take that back" in out
    assert "FAIL" not in out
    assert [p.id for p in plugins_of("mine", installed())] == ["local:mine"]


COMMAND = """
from ldm_core import hookimpl

ldm_api = ">=2,<3"


def say(*, word: str = "x"):
    '''Say it.

    Args:
        word: What.
    '''
    return word


@hookimpl
def ldm_commands(register):
    register("say", say)
"""


@pytest.mark.slow
def test_a_command_of_a_file_is_asked_for_its_help_with_that_file(
    ldm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "_files", ())
    (file := tmp_path / "mine_has_a_command.py").write_text(COMMAND)
    code, out, err = ldm("plugins", "check", "command:say", "--plugin", file)
    assert code == 0, out + err
    assert "PASS  command say  helps" in out


@pytest.mark.slow
def test_a_plugin_that_ends_the_process_is_a_failure(ldm: Any, tmp_path: Path) -> None:
    folder = write_package(tmp_path / "p", "mine_ends", PLUGIN + OBSERVER, PARTS + ENDS)
    code, out, _ = ldm("plugins", "check", folder, "--json")
    assert code == 1
    document = json.loads(out)
    failed = [r for r in document["results"] if r["outcome"] == "failed"]
    assert {r["plugin"] for r in failed} == {"observer ends"}
    assert all("it ended the process with code 7" in r["reason"] for r in failed)
    assert document["passed"] is False


def test_what_a_scheduler_replaces_in_its_walk_is_a_failure(ldm: Any, tmp_path: Path) -> None:
    spoils = "    import warnings, torch.nn.functional as F\n    {}\n    for here,"
    lines = "F.silu = lambda x, *more: x; warnings.simplefilter('ignore')"
    parts = PARTS.replace("    for here,", spoils.format(lines))
    folder = write_package(tmp_path / "p", "mine_spoils", PLUGIN, parts)
    code, out, _ = ldm("plugins", "check", folder)
    (line,) = [line for line in out.splitlines() if line.startswith("FAIL")]
    assert code == 1
    assert "leaves_no_trace  used, it is told of at each use: " in line
    assert "torch.nn.functional.silu" in line or "how warnings" in line


def test_json_says_the_version_of_the_hook_api(works: Any, ldm: Any) -> None:
    works("pass")  # has the process do no more than that
    code, out, _ = ldm("plugins", "check", "mine", "--json")
    assert (code, json.loads(out)["hook_api"]) == (0, HOOK_API)


def test_what_is_not_there_is_refused_at_once(ldm: Any, tmp_path: Path) -> None:
    code, _, err = ldm("plugins", "check", "ldm-core", "--model", tmp_path / "none")
    assert (code, "there is no" in err) == (2, True)
    code, _, err = ldm("plugins", "check", tmp_path)
    assert (code, "has no pyproject.toml" in err) == (2, True)
    code, _, err = ldm("plugins", "check", "euler", "--certificate", tmp_path / "c.json")
    assert (code, "a certificate is for a whole one" in err) == (2, True)
