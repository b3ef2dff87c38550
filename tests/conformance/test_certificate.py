"""A certificate holds for the files and the version that it was made of, and for no others."""

from __future__ import annotations

import importlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ldm_core.conformance.certificate import (
    LONGEST,
    certify,
    holds_for,
    in_a_few_words,
    read_certificate,
    write_certificate,
)
from ldm_core.conformance.certified import held
from ldm_core.conformance.checks import Result
from ldm_core.conformance.packages import Package, find_package
from ldm_core.conformance.project_folder import read_project
from ldm_core.errors import LdmError
from ldm_core.plugins.hookspecs import HOOK_API
from ldm_core.plugins.registry import Plugin, installed
from written_packages import write_package

PASSED = [Result("scheduler mine", "order", "passed", "1.00")]


@pytest.fixture
def package(tmp_path: Path) -> Package:
    folder = write_package(tmp_path / "p", "mine_certified", more={"table.json": "{}"})
    (scratch := tmp_path / "s").mkdir()
    package = find_package("ldm-mine", read_project(folder).as_installed(scratch))
    assert package is not None
    return package


@pytest.fixture
def file(package: Package) -> Path:
    return package.roots[1] / "mine_certified" / "ldm-certificate.json"


def test_a_package_ships_it_and_it_holds(package: Package, file: Path) -> None:
    assert in_a_few_words(package) == ""
    certificate = certify(package, PASSED)
    assert set(certificate.files) == {
        f"mine_certified/{n}" for n in ("__init__.py", "parts.py", "table.json")
    }
    write_certificate(certificate, file)
    assert package.certificate() == file
    assert read_certificate(file) == certificate
    assert (
        in_a_few_words(package)
        == f"certified with ldm-core {certificate.host}, {certificate.date[:10]}"
    )


def changed(package: Package) -> None:
    (package.roots[1] / "mine_certified" / "parts.py").write_text("# other\n")


def added(package: Package) -> None:
    (package.roots[1] / "mine_certified" / "more.py").write_text("")


def removed(package: Package) -> None:
    (package.roots[1] / "mine_certified" / "table.json").unlink()


@pytest.mark.parametrize(
    ("change", "said"), [(changed, "parts.py"), (added, "more.py"), (removed, "table.json")]
)
def test_it_does_not_hold_for_other_files(
    package: Package, file: Path, change: Any, said: str
) -> None:
    write_certificate(certify(package, PASSED), file)
    change(package)
    with pytest.raises(LdmError, match=f"does not hold: it is for other files .*{said}"):
        holds_for(file, package)
    assert "does not hold" in in_a_few_words(package)


def test_compiled_files_are_none_of_it(package: Package, file: Path) -> None:
    write_certificate(certify(package, PASSED), file)
    cache = package.roots[1] / "mine_certified" / "__pycache__"
    cache.mkdir()
    (cache / "parts.cpython-311.pyc").write_bytes(b"")
    assert "certified" in holds_for(file, package)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": "0.2"}, "is for ldm-mine 0.2, and 0.1 is installed"),
        ({"package": "ldm-other"}, "is for ldm-other"),
        ({"results": ()}, "certifies nothing"),
        ({"results": (Result("scheduler mine", "order", "failed"),)}, "certifies nothing"),
    ],
)
def test_one_of_something_else_does_not_hold(
    package: Package, file: Path, changes: Any, said: str
) -> None:
    write_certificate(replace(certify(package, PASSED), **changes), file)
    with pytest.raises(LdmError, match=said):
        holds_for(file, package)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": 2}', '{"package": 3}', "\x00", '{"results": [1]}', "[" * 100_000,
     '{"format": NaN}', '"' + "x" * (LONGEST + 1) + '"'],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_what_is_none_is_said(package: Package, file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(LdmError, match="certificate"):
        holds_for(file, package)
    assert in_a_few_words(package).startswith("certificate: ")  # and the list goes on
    shutil.rmtree(file.parent)
    with pytest.raises(LdmError, match="cannot be read"):
        read_certificate(file)


@pytest.mark.parametrize("key", ["date", "versions", "hook_api", "digest"])
def test_one_that_was_altered_is_told(package: Package, file: Path, key: str) -> None:
    write_certificate(certify(package, PASSED), file)
    said = json.loads(file.read_text())
    said[key] = {"torch": "1.0"} if key == "versions" else "2030-01-01"
    file.write_text(json.dumps(said))
    with pytest.raises(LdmError, match="altered after it was written"):
        holds_for(file, package)


def test_one_of_before_there_were_digests_is_told_so(package: Package, file: Path) -> None:
    write_certificate(certify(package, PASSED), file)
    said = json.loads(file.read_text())
    del said["digest"]
    file.write_text(json.dumps(said))
    with pytest.raises(LdmError, match="has no digest of what it says"):
        holds_for(file, package)


def test_none_is_made_where_a_check_failed(package: Package) -> None:
    with pytest.raises(LdmError, match="1 checks of ldm-mine failed"):
        certify(package, [*PASSED, Result("scheduler mine", "points", "failed", reason="x")])


def test_it_says_what_was_seen_and_with_what(package: Package, file: Path) -> None:
    write_certificate(certify(package, PASSED, Path("/models/tiny")), file)
    said = json.loads(file.read_text())
    assert said["model"] == "tiny"
    assert said["hook_api"] == HOOK_API
    assert set(said["versions"]) == {"torch", "diffusers", "transformers"}
    assert said["results"][0]["figure"] == "1.00"


def test_lists_show_it(
    package: Package, file: Path, ldm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for root in package.roots:
        monkeypatch.syspath_prepend(root)
    importlib.import_module("mine_certified")
    theirs = Plugin("scheduler", "mine", "ldm-mine", "0.1", "mine_certified.parts:mine")
    monkeypatch.setattr(installed(), "plugins", [*installed().plugins, theirs])
    show = ("plugins", "show", "ldm-mine:mine", "--json")
    assert "certificate" not in json.loads(ldm(*show)[1])[0]
    write_certificate(certify(package, PASSED), file)
    words = read_certificate(file).words
    assert json.loads(ldm(*show)[1])[0]["certificate"] == words
    assert words in ldm("plugins", "show", "mine")[1]
    code, out, err = ldm("plugins", "list", "--kind", "scheduler")
    assert (code, f"ldm-mine: {words}" in err, "mine" in out) == (0, True, True)
    listed = json.loads(ldm("plugins", "list", "--json")[1])
    assert {p.get("certificate") for p in listed if p["distribution"] == "ldm-mine"} == {words}
    assert not [p for p in listed if "certificate" in p and p["distribution"] != "ldm-mine"]
    expected = Result("scheduler mine", "linear", "expected", reason="it is not")
    write_certificate(certify(package, [*PASSED, expected]), file)
    assert "1 of 2 checks failing as declared" in ldm("plugins", "show", "mine")[1]
    changed(package)
    assert "does not hold" in ldm("plugins", "list")[2]


SEEN = [
    Result("package", "import_seconds", "passed", "0.02 s of the processor, 0.02 s by the clock"),
    Result("package", "certificate", "passed", "certified"),
    Result("scheduler mine", "order", "passed", "6 paths, at most 1.98"),
    Result("scheduler mine", "constant_x0", "passed", "x0 within 3e-07"),
    Result("scheduler mine", "moments", "skipped", reason="it draws no noise"),
]


def told(change: Any, **changes: Any) -> str:
    """What is said of a certificate with other results."""
    package = find_package("ldm-core")
    assert package is not None
    certificate = replace(certify(package, [change(result) for result in SEEN]), **changes)
    result = held(certificate, SEEN, None)
    assert (result.outcome == "passed") == (not result.reason)
    return result.reason


@pytest.mark.parametrize(
    ("check", "changes", "said"),
    [
        ("order", {"figure": "6 paths, at most 3.00"}, "'6 paths, at most 3.00', and now"),
        ("order", {"figure": "9 paths, at most 1.98"}, "scheduler mine order: "),
        ("order", {"figure": ""}, "scheduler mine order: ''"),
        ("order", {"outcome": "skipped"}, "order skipped, and now passed"),
        ("moments", {"outcome": "passed"}, "moments passed, and now skipped"),
        ("order", {"check": "beauty"}, "beauty is no check that is made"),
        ("order", {"plugin": "scheduler other"}, "scheduler mine order is missing in it"),
        ("order", {"figure": "6 paths, at most 1.97"}, ""),
        ("constant_x0", {"figure": "x0 within 6e-07"}, ""),
        ("import_seconds", {"figure": "1.10 s of the processor, 2.02 s by the clock"}, ""),
        ("certificate", {"outcome": "skipped"}, ""),
    ],
)
def test_what_it_says_is_held_against_what_is_seen(
    check: str, changes: dict[str, Any], said: str
) -> None:
    def change(result: Result) -> Result:
        return replace(result, **changes) if result.check == check else result

    assert said in told(change)
    assert bool(said) == bool(told(change))


def test_figures_of_other_versions_and_checks_of_another_host_may_be_others() -> None:
    def change(result: Result) -> Result:
        figure = "7 paths" if result.check == "order" else result.figure
        check = "beauty" if result.check == "moments" else result.check
        return replace(result, figure=figure, check=check)

    assert "order: '7 paths'" in told(change)
    assert "order" not in told(change, versions={"torch": "1.0"})
    assert told(change, host="9.0", versions={}) == ""
    assert "order" not in told(change, versions={"no-such-library": "1.0"})
