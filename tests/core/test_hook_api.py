"""Versions of the hook API: what plugins state, what they are told, and that nothing goes without a
warning."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pluggy
import pytest
from packaging.version import Version

import hook_api_surface as api
from ldm_core import LdmError, hookimpl
from ldm_core.plugins import hook_api, hookspecs
from ldm_core.plugins.hook_api import understood
from ldm_core.plugins.hookspecs import ENDS, HOOK_API, KINDS, PRESENT, SINCE, UNDERSTOOD, Ends
from ldm_core.plugins.registry import Registry, installed

SNAPSHOTS: dict[str, dict[str, list[str]]] = {
    file.stem: json.loads(file.read_text()) for file in sorted(api.SNAPSHOTS.glob("*.json"))
}
"""What each hook API had, by its version."""
DOCS = Path(__file__).parents[2] / "docs"
RELEASE = metadata.version("ldm-core")


def module(**stated: Any) -> SimpleNamespace:
    return SimpleNamespace(**stated)


@pytest.mark.parametrize(
    ("stated", "version"),
    [
        ({"ldm_api": PRESENT}, HOOK_API),
        ({"ldm_api": ">=2,<3"}, HOOK_API),
        ({"ldm_api": ">=1,<3"}, HOOK_API),
        ({"ldm_api": ">=2,<4"}, HOOK_API),
        ({"ldm_api": ">=2.1"}, "2.1"),
        ({"ldm_api": "~=2.0"}, HOOK_API),
        ({"ldm_api": "==2.*"}, HOOK_API),
        ({"ldm_api": "==2"}, "2.0"),
        ({"ldm_api": "<2.1"}, "2.0"),
        ({"ldm_api": "<2"}, "1"),
        ({"ldm_api": ">=1,<2"}, "1"),
        ({"ldm_api": ">=2,<3", "ldm_api_version": 99}, HOOK_API),
    ],
)
def test_a_module_states_a_range(stated: dict[str, Any], version: str) -> None:
    assert understood(module(**stated)) == version


@pytest.mark.parametrize(
    ("stated", "version"), [(2, HOOK_API), ((2, 2), HOOK_API), ((1, 2), HOOK_API), (1, "1")]
)
def test_the_old_spelling_is_read_with_a_warning_for_authors(stated: Any, version: str) -> None:
    gone = re.escape(ENDS["ldm_api_version"].gone)
    words = f"the package ldm-mine states 'ldm_api_version', which is read until ldm-core {gone}"
    with pytest.warns(DeprecationWarning, match=words):
        assert understood(module(ldm_api_version=stated), "ldm-mine") == version


@pytest.mark.parametrize(
    ("stated", "text"),
    [
        ({"ldm_api": ">=3"}, ">=3"),
        ({"ldm_api": ">=2.2,<3"}, r">=2\.2,<3"),
        ({"ldm_api": "==3.*"}, r"==3\.\*"),
        ({"ldm_api": ">2.1"}, r">2\.1"),
        ({"ldm_api": ">=99"}, ">=99"),
        ({"ldm_api": "==99"}, "==99"),
        ({"ldm_api": ">=3,<99"}, ">=3,<99"),
        ({"ldm_api": "~=7.3"}, r"~=7\.3"),
        ({"ldm_api_version": 99}, "99"),
        ({"ldm_api_version": 3}, "3"),
        ({"ldm_api_version": (3, 9)}, "3 to 9"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_newer_one_is_told_to_upgrade_ldm_core(stated: dict[str, Any], text: str) -> None:
    words = (
        rf"the hook API {text}, and this ldm-core [\d.]+ has 2\.1; upgrade ldm-core: pip install"
    )
    with pytest.raises(LdmError, match=words):
        understood(module(**stated))


def test_the_release_that_a_newer_one_needs_is_named_where_its_package_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    needs = ["torch>=2", "ldm_core>=0.7,<1; python_version > '3'"]
    monkeypatch.setattr(hook_api.metadata, "requires", lambda name: needs)
    with pytest.raises(LdmError, match=re.escape("--upgrade 'ldm-core>=0.7,<1'")):
        understood(module(ldm_api=">=3"), "ldm-mine")


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({}, "it does not say which"),
        ({"ldm_api": ""}, "should be a range"),
        ({"ldm_api": " , "}, "should be a range"),
        ({"ldm_api": 2}, "should be a range"),
        ({"ldm_api": "2"}, "should be a range"),
        ({"ldm_api": ("2", "3")}, "should be a range"),
        ({"ldm_api": "===some"}, "should be a range"),
        ({"ldm_api": "<1"}, "none of ldm-core's"),
        ({"ldm_api": ">=3,<2"}, "none of ldm-core's"),
        ({"ldm_api_version": 0}, "none of ldm-core's"),
        ({"ldm_api_version": "2"}, "state a range"),
        ({"ldm_api_version": True}, "state a range"),
        ({"ldm_api_version": (2,)}, "state a range"),
        ({"ldm_api_version": (1, 2, 3)}, "state a range"),
        ({"ldm_api_version": (None, 2)}, "state a range"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_says_nothing_is_told_what_to_say(stated: dict[str, Any], words: str) -> None:
    with pytest.raises(LdmError, match=words) as raised:
        understood(module(**stated))
    assert f"ldm_api = '{PRESENT}'" in str(raised.value) or "such as '>=2,<3'" in str(raised.value)


def test_the_plugins_that_ship_state_the_present_range_without_a_warning() -> None:
    from ldm_pipelines import plugin as pipelines
    from ldm_plugins import plugin as plugins

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for one in (plugins, pipelines):
            assert one.ldm_api == PRESENT
            assert understood(one) == HOOK_API
    assert all(plugin.earlier is None for plugin in installed().plugins)


def test_the_versions_are_in_order() -> None:
    versions = [Version(version) for version in UNDERSTOOD]
    assert versions == sorted(versions, reverse=True)
    assert Version(HOOK_API) == versions[0]
    assert versions[0].major == hookspecs.API_VERSION


# What there is, and since when


def names_of(version: str) -> set[str]:
    return {name for names in SNAPSHOTS[version].values() for name in names}


def test_each_version_that_is_understood_has_a_snapshot() -> None:
    assert {*SNAPSHOTS} == {*UNDERSTOOD}


def test_the_snapshot_of_now_is_what_there_is() -> None:
    """An addition is written into it by `python tests/hook_api_surface.py`; after a release it gets
    a version of its own."""
    now = api.surface()
    for part, names in now.items():
        assert set(names) == set(SNAPSHOTS[HOOK_API][part])


def test_since_says_when_each_hook_and_argument_came() -> None:
    assert {*SINCE} == {*KINDS.values(), "ldm_models"}
    said = {hook: since.api for hook, since in SINCE.items()}
    for hook, since in SINCE.items():
        said |= {f"{hook}.{name}": version for name, version in since.arguments.items()}
    assert {*said} == set(api.surface()["hooks"])
    in_order = sorted(SNAPSHOTS, key=Version)
    for name, version in said.items():
        first = next(v for v in in_order if name in SNAPSHOTS[v]["hooks"])
        assert (name, first) == (name, version)


def wrongly_gone(
    snapshots: Mapping[str, Iterable[str]], now: set[str], ends: Mapping[str, Ends], release: str
) -> set[str]:
    """Names that a version had and that are gone without a release that warned of them.

    Args:
        snapshots: the names of each version that is understood.
        release: of ldm-core, as it is.
    """
    gone = {name for names in snapshots.values() for name in names} - now
    announced = {
        name
        for name in gone
        if (end := ends.get(name) or ends.get(name.rpartition(".")[0]))
        and Version(end.warned) < Version(end.gone) <= Version(release)
    }
    return gone - announced


def test_nothing_is_gone_without_a_release_of_warning() -> None:
    now = {name for names in api.surface().values() for name in names}
    snapshots = {version: names_of(version) for version in SNAPSHOTS}
    assert wrongly_gone(snapshots, now, ENDS, RELEASE) == set()


@pytest.mark.parametrize(
    ("ends", "release", "wrong"),
    [
        ({}, "0.4", {"ldm_a.old"}),
        ({"ldm_a.old": Ends("0.2", "0.4", "")}, "0.4", set()),
        ({"ldm_a.old": Ends("0.2", "0.4", "")}, "0.3", {"ldm_a.old"}),
        ({"ldm_a.old": Ends("0.4", "0.4", "")}, "0.4", {"ldm_a.old"}),
        ({"ldm_a": Ends("0.2", "0.4", "")}, "0.5", set()),
    ],
)
def test_what_is_gone_too_early_is_noticed(
    ends: dict[str, Ends], release: str, wrong: set[str]
) -> None:
    assert wrongly_gone({"2": {"ldm_a", "ldm_a.old"}}, {"ldm_a"}, ends, release) == wrong


def test_every_end_has_a_release_between_and_lies_ahead() -> None:
    for name, end in ENDS.items():
        warned, gone = Version(end.warned), Version(end.gone)
        assert (gone.major, gone.minor) > (warned.major, warned.minor + 1), name
        assert gone > Version(RELEASE), name
        assert end.instead, name


def unannounced(specs: Any, ends: Mapping[str, Ends]) -> set[str]:
    """Arguments of hooks that are about to go, of which pluggy is not told to warn."""
    silent: set[str] = set()
    for name in ends:
        hook, _, argument = name.partition(".")
        if argument and hook.startswith("ldm_"):
            told: dict[str, Any] = vars(vars(specs)[hook])["ldm_spec"]
            if argument not in (told["warn_on_impl_args"] or {}):
                silent.add(name)
    return silent


def test_arguments_that_are_about_to_go_are_warned_of() -> None:
    assert unannounced(hookspecs, ENDS) == set()


def test_an_author_hears_of_an_argument_that_goes_with_the_release(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends = {"ldm_things.old": Ends("0.2", "0.4", "take 'new' in its place")}
    monkeypatch.setattr(hookspecs, "ENDS", ends)

    def ldm_things(old: Any, new: Any) -> None: ...

    specs = ModuleType("specs")
    vars(specs)["ldm_things"] = hookspecs.hookspec(ldm_things)
    assert unannounced(specs, ends) == {"ldm_things.old"}
    told = hookspecs.ending("ldm_things", "old")
    vars(specs)["ldm_things"] = hookspecs.hookspec(warn_on_impl_args=told)(ldm_things)
    assert unannounced(specs, ends) == set()

    class Takes:
        @hookimpl
        def ldm_things(self, old: Any) -> None: ...

    class TakesNone:
        @hookimpl
        def ldm_things(self, new: Any) -> None: ...

    manager = pluggy.PluginManager("ldm")
    manager.add_hookspecs(specs)
    words = r"'old' of ldm_things is given until ldm-core 0\.4: take 'new' in its place"
    with pytest.warns(DeprecationWarning, match=words) as heard:
        manager.register(Takes())
    assert heard[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        manager.register(TakesNone())


def test_the_hooks_are_where_their_name_is_looked_for() -> None:
    from ldm_core import hookspecs as named

    assert named.SINCE is SINCE
    assert named.hookimpl is hookimpl


def test_a_range_is_read_when_a_module_is_taken_in() -> None:
    class Newer:
        ldm_api = ">=3"

    with pytest.raises(LdmError, match="upgrade ldm-core"):
        Registry().add(Newer(), "ldm-newer", "1.0")


def test_the_page_says_what_the_tables_say() -> None:
    page = " ".join((DOCS / "reference" / "hook-api.md").read_text().split())
    assert f"has the hook API {HOOK_API}," in page
    rows = page.partition("## Since when each hook exists")[2]
    for hook, since in SINCE.items():
        [row] = [row for row in re.split(r" \| \|", rows) if f"`{hook}`" in row]
        assert row.rstrip().endswith(f"| {since.api}") or f"| {since.api} |" in row
    for end in ENDS.values():
        assert f"| {end.warned} | {end.gone} |" in page
