"""What a plugin can say, and what can be said to it, is written down: collected from the code."""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ldm_core import contracts
from ldm_core.contracts import Conditioning, Converter, Family, Guidance, RunHooks
from ldm_core.contracts.record import Record
from ldm_core.numerics import callables, grid, noise_schedule, point, prediction
from ldm_core.plugins import hookspecs
from ldm_core.plugins.registry import Plugin, installed
from ldm_plugins.families.shared import component, diffusers_folder, folder

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
REFERENCE = HOW_TO.parent / "reference"
MODULES = [
    *(
        pkgutil.resolve_name(f"{contracts.__name__}.{module.name}")
        for module in pkgutil.iter_modules(contracts.__path__)
    ),
    *(callables, grid, noise_schedule, point, prediction),
    *(component, diffusers_folder, folder),
]
"""Those of which `reference/hooks.md` shows the docstrings."""


def classes() -> Iterator[tuple[type, ast.ClassDef]]:
    """The public classes of these modules, with their syntax trees."""
    for module in MODULES:
        for node in ast.parse(inspect.getsource(module)).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield vars(module)[node.name], node


CLASSES = [pytest.param(cls, node, id=cls.__name__) for cls, node in classes()]


def entries(doc: str | None) -> set[str]:
    """The names that the sections of a docstring list."""
    names: set[str] = set()
    for section in re.findall(r"^(?:Attributes|Args):\n((?:[ \t]+.*\n?|\n)+)", doc or "", re.M):
        for line in re.findall(r"^ {4}(\w[\w, ]*):", section, re.MULTILINE):
            names |= {*line.split(", ")}
    return names


def fields(node: ast.ClassDef) -> Iterator[tuple[str, bool]]:
    """The annotated attributes of a class, and whether a docstring stands beneath each."""
    for statement, after in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or "ClassVar[" in ast.unparse(
            statement.annotation
        ):
            continue
        name = ast.unparse(statement.target)
        below = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if not name.startswith("_"):
            yield name, below


@pytest.mark.parametrize(("cls", "node"), CLASSES)
def test_every_field_of_a_contract_is_documented(cls: Any, node: ast.ClassDef) -> None:
    assert cls.__doc__
    listed = set().union(*(entries(inspect.getdoc(c)) for c in cls.__mro__[:-1]))
    prose = cls.__doc__ if issubclass(cls, tuple) else ""
    missing = [
        name
        for name, below in fields(node)
        if not below and name not in listed and not re.search(rf"\b{name}\b", prose)
    ]
    functions = {"walk", "choose", "call", "encode", "decode", "wrap", "watch", "write"}
    if issubclass(cls, Record):  # of what it does its hook's contract speaks
        missing = [name for name in missing if name not in functions]
    assert missing == []


@pytest.mark.parametrize(("cls", "node"), CLASSES)
def test_every_method_of_a_contract_is_documented(cls: Any, node: ast.ClassDef) -> None:
    methods = [n.name for n in node.body if isinstance(n, ast.FunctionDef)]
    public = [name for name in methods if not name.startswith("_")]
    assert [name for name in public if not inspect.getdoc(inspect.getattr_static(cls, name))] == []


def test_every_hook_says_its_contract() -> None:
    for hook in [*hookspecs.KINDS.values(), "ldm_models"]:
        doc = inspect.getdoc(vars(hookspecs)[hook])
        assert doc
        assert len(doc.splitlines()) > 2, hook


def test_every_decorator_that_states_a_trait_is_in_the_guide() -> None:
    """A function of the contracts that makes a record of a function, by itself or when called."""
    guide = (HOW_TO / "write-a-plugin.md").read_text()
    table = guide.partition("## Traits")[2].partition("\n## ")[0]
    decorators = [name for name in contracts.__all__ if makes_a_record(vars(contracts)[name])]
    assert {"starts_with", "stochastic", "runs_on", "writes"} <= {*decorators}
    assert [name for name in decorators if f"`{name}" not in table] == []


def makes_a_record(thing: Any) -> bool:
    if not inspect.isfunction(thing) or thing.__name__.startswith(("as_", "first_of")):
        return False
    records = [cls.__name__ for cls in Record.__subclasses__()]
    made = str(inspect.get_annotations(thing)["return"])
    return any(re.search(rf"\b{name}\b", made) for name in records)


METHODS: Mapping[type, str] = {
    Conditioning: "plugins/conditioning.md",
    Converter: "plugins/converter.md",
    Guidance: "plugins/guidance.md",
    Family: "add-a-family.md",
    RunHooks: "plugins/conditioning.md",
}
BY_ITSELF = {RunHooks: {"program"}}
"""What is asked of the core's own parts alone, and stands in the reference."""


@pytest.mark.parametrize("cls", METHODS)
def test_every_method_that_may_be_overridden_is_in_its_guide(cls: type) -> None:
    page = (HOW_TO / METHODS[cls]).read_text()
    public = {name for name in {*vars(cls), *inspect.get_annotations(cls)} if name[0] != "_"}
    public -= BY_ITSELF.get(cls, set())
    assert {name for name in public if not re.search(rf"\b{name}\b", page)} == set()


SHIPPED = [plugin for plugin in installed().plugins if plugin.distribution == "ldm-core"]


@pytest.mark.parametrize("plugin", SHIPPED, ids=lambda plugin: f"{plugin.kind}-{plugin.name}")
def test_every_option_of_a_shipped_plugin_is_documented(plugin: Plugin) -> None:
    assert plugin.summary
    assert [option.name for option in plugin.options.values() if not option.help.strip()] == []
    if plugin.kind != "command":
        page = (REFERENCE / "plugins.md").read_text()
        (row,) = re.findall(rf"^\| `{re.escape(plugin.name)}` \| .*$", of(page, plugin.kind), re.M)
        assert [name for name in plugin.options if f"`{name}` (" not in row] == []


def of(page: str, kind: str) -> str:
    """The section of a kind."""
    return page.partition(f"\n## {kind.capitalize()}\n")[2].partition("\n## ")[0]


def test_what_is_public_of_the_shipped_plugins_is_in_the_reference() -> None:
    """The classes of `ldm_plugins` that a page shows a package of another import."""
    shown = set()
    for page in HOW_TO.rglob("*.md"):
        shown |= {*re.findall(r"^from (ldm_plugins\S+ import \w+)", page.read_text(), re.MULTILINE)}
    assert shown
    hooks = (REFERENCE / "hooks.md").read_text()
    assert [s for s in shown if f"::: {s.replace(' import ', '.')}\n" not in hooks] == []


def test_every_model_that_ships_is_in_the_reference() -> None:
    section = of((REFERENCE / "plugins.md").read_text(), "model")
    own = [model for model in installed().models if model.distribution == "ldm-core"]
    assert own
    assert [m.name for m in own if f"| `{m.name}` | {m.made_for} |" not in section] == []
