"""The reference names every command, flag, kind, hook, contract, recipe key and manifest key."""

from __future__ import annotations

import pkgutil
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from ldm_core import contracts
from ldm_core.cli.later import itself
from ldm_core.cli.main import make_app
from ldm_core.composition.recipe import KEYS
from ldm_core.plugins import hookspecs
from ldm_core.plugins.registry import installed

DOCS = Path(__file__).parents[2] / "docs"


def flags(command: Any) -> set[str]:
    """Every flag of a command but those for help."""
    every = {flag for p in command.params for flag in (*p.opts, *p.secondary_opts)}
    return {flag for flag in every if flag.startswith("-")} - {"-h", "--help"}


def leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    for key, inner in getattr(command, "commands", {}).items():
        yield from leaves(inner, f"{path} {key}")
    if not hasattr(command, "commands"):
        yield path, command


def test_every_command_and_flag_is_in_the_reference() -> None:
    sections = (DOCS / "reference" / "command-line.md").read_text().split("\n## ")
    app = itself(typer.main.get_command(make_app()))
    shared = flags(app.commands["generate"])
    for path, command in leaves(app, "ldm"):
        section = next(s for s in sections if s.startswith(" ".join(path.split()[:2]) + "\n"))
        assert path in section
        takes_all = re.search(r"the\s+options\s+of\s+`ldm generate`", section)
        for flag in flags(command) - (shared if takes_all else set()):
            assert f"`{flag}`" in section, f"{path} {flag}"


def test_every_kind_and_hook_is_in_the_reference() -> None:
    page = (DOCS / "reference" / "hooks.md").read_text()
    for kind, hook in {**hookspecs.KINDS, "model": "ldm_models"}.items():
        assert f"| {kind} | `{hook}` |" in page
    assert "::: ldm_core.plugins.hookspecs" in page
    listed = (DOCS / "reference" / "plugins.md").read_text()
    for plugin in installed().plugins:
        if plugin.distribution == "ldm-core":
            assert f"`{plugin.name}`" in listed or f"`ldm {plugin.name}`" in listed


def test_every_contract_is_in_the_reference() -> None:
    page = (DOCS / "reference" / "hooks.md").read_text()
    modules = {module.name for module in pkgutil.iter_modules(contracts.__path__)}
    assert {m for m in modules if f"::: ldm_core.contracts.{m}\n" not in page} == set()


def test_every_recipe_key_is_in_the_reference() -> None:
    page = (DOCS / "reference" / "recipe.md").read_text()
    assert {key for key in KEYS if f"`{key}`" not in page} == set()


def test_every_manifest_key_is_in_the_reference(pipe: Any) -> None:
    page = (DOCS / "reference" / "manifest.md").read_text()
    (manifest,) = pipe("a red star", seed=1, num_inference_steps=1).manifests
    sometimes = ["pixels_sha256", "extent", "title", "finish", "command", "chain", "at"]
    assert {key for key in [*manifest, *sometimes] if f"`{key}`" not in page} == set()


def test_the_list_of_plugins_is_current() -> None:
    script = DOCS / "make_plugin_table.py"
    page = runpy.run_path(str(script))
    assert page["PAGE"].read_text() == page["make_page"](), "run: python docs/make_plugin_table.py"


def test_the_page_of_names_of_elsewhere_is_current() -> None:
    page = runpy.run_path(str(DOCS / "make_names_page.py"))
    assert page["PAGE"].read_text() == page["make_page"](), "run: python docs/make_names_page.py"


def test_the_list_of_checks_is_current() -> None:
    page = runpy.run_path(str(DOCS / "make_check_table.py"))
    assert page["PAGE"].read_text() == page["make_page"](), "run: python docs/make_check_table.py"


@pytest.mark.parametrize(
    "page", [DOCS / "reference" / "hooks.md", DOCS / "reference" / "python.md"]
)
def test_what_mkdocstrings_is_asked_for_exists(page: Path) -> None:
    for reference, options in re.findall(
        r"^::: (\S+)\n((?:    .*\n)*)", page.read_text(), re.MULTILINE
    ):
        thing = pkgutil.resolve_name(reference)
        for listed in re.findall(r"members: \[(.*)\]", options):
            for member in listed.split(", "):
                assert hasattr(thing, member), f"{reference}.{member}"
