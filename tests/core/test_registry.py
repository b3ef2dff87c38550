"""Plugins: found through entry points, named without regard to order, broken ones reported."""

from __future__ import annotations

import re
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ldm_core.cli import main
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError
from ldm_core.plugins import hookspecs
from ldm_core.plugins.hookspecs import hookimpl
from ldm_core.plugins.registry import Plugin, Registry, discover, installed


def module(**contents: Any) -> ModuleType:
    made = ModuleType("plugin_under_test")
    vars(made).update({"ldm_api_version": 2, **contents})
    return made


def offering(*names: str, kind: str = "ldm_schedulers", target: Any = None) -> ModuleType:
    def hook(register: Any) -> None:
        for name in names:
            register(name, target or (lambda x, grid, denoise, noise: x))

    return module(**{kind: hookimpl(hook, specname=kind)})


class Entry:
    """An entry point that gives a ready object, or raises."""

    def __init__(self, name: str, distribution: str, thing: Any) -> None:
        self.name, self.value, self.thing = name, f"{name}.plugin", thing
        self.dist = SimpleNamespace(name=distribution, version="1.2")
        self.loads = 0

    def load(self) -> Any:
        self.loads += 1
        if isinstance(self.thing, Exception):
            raise self.thing
        return self.thing


def found(*entries: Entry, disable: Any = (), allow: Any = ()) -> Registry:
    return discover(entries, disable, allow)  # type: ignore[arg-type]


def test_first_party_plugins_take_the_road_of_everyone() -> None:
    values = {entry.value for entry in entry_points(group="ldm")}
    assert {"ldm_plugins.plugin", "ldm_pipelines.plugin"} <= values
    assert not installed().failures


def test_a_plugin_is_found_by_short_name_and_full_id() -> None:
    registry = found(Entry("a", "pkg-a", offering("mine")))
    assert registry.find("scheduler", "mine").id == "pkg-a:mine"
    assert registry.find("scheduler", "pkg-a:mine").version == "1.2"


@pytest.mark.parametrize("order", [1, -1])
def test_a_clash_is_an_error_on_use_in_any_order(order: int) -> None:
    entries = [Entry("x", "pkg-a", offering("mine")), Entry("x", "pkg-b", offering("mine"))]
    registry = found(*entries[::order])
    with pytest.raises(LdmError, match=r"'pkg-[ab]:mine' or 'pkg-[ab]:mine'"):
        registry.find("scheduler", "mine")
    assert registry.find("scheduler", "pkg-b:mine").distribution == "pkg-b"


def test_a_broken_plugin_is_reported_and_the_rest_goes_on() -> None:
    registry = found(
        Entry("bad", "pkg-bad", ImportError("no module named 'moon'")),
        Entry("good", "pkg-good", offering("mine")),
    )
    assert registry.find("scheduler", "mine")
    (failure,) = registry.failures
    assert "pkg-bad" in str(failure)
    assert "moon" in str(failure)
    with pytest.raises(LdmError, match=r"(?s)no scheduler named 'theirs'.*pkg-bad.*moon"):
        registry.find("scheduler", "theirs")


def test_a_hook_that_raises_breaks_its_own_plugin_alone() -> None:
    def raising(register: Any) -> None:
        register(str(1 / 0), None)

    broken = module(ldm_schedulers=hookimpl(raising, specname="ldm_schedulers"))
    registry = found(Entry("bad", "pkg-bad", broken), Entry("ok", "pkg-ok", offering("mine")))
    assert [p.name for p in registry.plugins] == ["mine"]
    assert "ZeroDivisionError" in registry.failures[0].reason


def test_a_misspelt_hook_is_reported_with_the_right_name() -> None:
    registry = found(Entry("a", "pkg-a", offering("mine", kind="ldm_scheduler")))
    assert "'ldm_scheduler'" in registry.failures[0].reason
    assert "'ldm_schedulers'" in registry.failures[0].reason


@pytest.mark.parametrize("version", [2, (2, 2), (1, 2), (2, 9)])
def test_a_plugin_states_the_hook_api_or_a_range_of_it(version: object) -> None:
    assert hookspecs.API_VERSION == 2
    plugin = offering("mine")
    vars(plugin)["ldm_api_version"] = version
    assert not found(Entry("a", "pkg-a", plugin)).failures


@pytest.mark.parametrize("version", [None, 99, (3, 9), (2,), (1, 2, 3), "2", (None, 2)])
def test_another_hook_api_is_refused(version: object) -> None:
    plugin = offering("mine")
    vars(plugin)["ldm_api_version"] = version
    registry = found(Entry("a", "pkg-a", plugin))
    assert re.search("ldm_api = '>=2,<3'|upgrade ldm-core", registry.failures[0].reason)
    assert not registry.plugins


def test_what_is_disabled_is_not_imported() -> None:
    entries = [Entry("one", "pkg-a", offering("a")), Entry("two", "pkg-b", offering("b"))]
    registry = found(*entries, disable=["pkg-a"])
    assert [e.loads for e in entries] == [0, 1]
    assert [p.name for p in registry.plugins] == ["b"]


def test_an_allow_list_admits_only_its_names_and_reports_unknown_ones() -> None:
    entries = [Entry("one", "pkg-a", offering("a")), Entry("two", "pkg-b", offering("b"))]
    registry = found(*entries, allow=["pkg-b:two", "pkg-c"])
    assert [e.loads for e in entries] == [0, 1]
    assert "names 'pkg-c'" in registry.unknown[0]


def test_lists_reach_other_processes_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    monkeypatch.setenv("LDM_DISABLE_PLUGINS", "ldm-core:pipelines")
    code = "from ldm_core.plugins.registry import installed; print(installed().models)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_an_unknown_name_gets_the_nearest(pipe: Any) -> None:
    with pytest.raises(LdmError, match="Did you mean 'dpmpp_2m'"):
        pipe.replace(scheduler="dpmpp2m")


def test_a_target_that_cannot_be_imported_is_an_error_on_use() -> None:
    registry = found(Entry("a", "pkg-a", offering("mine", target="no_such_module:thing")))
    with pytest.raises(LdmError, match=r"(?s)pkg-a 1\.2.*no_such_module"):
        _ = registry.find("scheduler", "mine").loaded


def test_every_hook_is_documented_and_every_kind_has_one() -> None:
    hooks = {name for name in vars(hookspecs) if name.startswith("ldm_")}
    assert hooks == {*hookspecs.KINDS.values(), "ldm_models"}
    for name in hooks:
        assert len(getattr(hookspecs, name).__doc__.splitlines()) >= 4, name


def test_every_first_party_plugin_has_a_summary_and_helped_options() -> None:
    for plugin in installed().plugins:
        assert plugin.summary.endswith((".", ",")), plugin.id
        for option in plugin.options.values():
            assert option.help, f"{plugin.id} {option.name}"


def test_a_package_can_ship_a_model(folder: Any) -> None:
    def models(register: Any) -> None:
        register("theirs", folder, "tests")

    plain = Registry()
    plain.add(sys.modules["ldm_plugins.plugin"], "ldm-core")
    plain.add(module(ldm_models=hookimpl(models, specname="ldm_models")), "pkg-m")
    assert compose({"model": "theirs"}, plain).info.folder == folder
    assert compose({"model": "pkg-m:theirs"}, plain).info.family == "stable_diffusion"


def test_entry_points_are_of_the_documented_group() -> None:
    assert all(isinstance(entry, EntryPoint) for entry in entry_points(group="ldm"))


def test_an_error_of_a_package_says_which_and_where(
    ldm: Any,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is not taken for bad input, and shows its traceback where that is asked for."""
    file = tmp_path / "their_scheduler.py"
    file.write_text("def broken(x, grid, denoise, noise):\n    return x * float('nothing')\n")
    monkeypatch.syspath_prepend(tmp_path)
    theirs = Plugin("scheduler", "broken", "pkg-a", "1.2", "their_scheduler:broken")
    monkeypatch.setattr(installed(), "plugins", [*installed().plugins, theirs])
    run = ("generate", "a red star", "--model", folder, "--steps", 2, "--scheduler", "broken")
    code, out, err = ldm(*run)
    assert (code, out) == (1, "")
    assert (
        "error: the scheduler 'broken' of the package pkg-a 1.2 failed at step 1 of 2: "
        "ValueError: could not convert string to float: 'nothing'; no picture of this run is in "
        "pictures yet\n"
    ) in err
    monkeypatch.setenv("LDM_TRACEBACK", "1")
    monkeypatch.setattr(sys, "argv", ["ldm", *map(str, run)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    assert "Traceback (most recent call last):" in capsys.readouterr().err
