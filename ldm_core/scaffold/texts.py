"""The files of a new package that depend on what it offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from ldm_core.plugins.hookspecs import KINDS
from ldm_core.scaffold.kinds import Starter
from ldm_core.scaffold.names import Names

TEMPLATE = Path(__file__).parent / "template"
API = 'ldm_api = ">=2,<3"'
"""How a plugin module says for which hook API it was written."""
WIDTH = 100
"""Of a line of code in the package, as its own linter has it."""


def pyproject(names: Names, starters: Mapping[str, Starter]) -> str:
    """Name, dependencies, entry point, and how it is built and checked."""
    major, minor = version("ldm-core").split(".")[:2]
    return f"""[build-system]
requires = ["hatchling>=1.25"]
build-backend = "hatchling.build"

[project]
name = "ldm-mine"
version = "0.1.0"
description = "For ldm: {listed(starters)}."
readme = "README.md"
license = "Apache-2.0"
license-files = ["LICENSE"]
requires-python = ">=3.11"
dependencies = ["ldm-core>={major}.{minor},<{int(major) + 1}"]
classifiers = ["Typing :: Typed"]

[project.optional-dependencies]
test = ["mypy>=1.14", "pytest>=8.3", "ruff>=0.9"]

[project.entry-points.ldm]
{names.plugin} = "ldm_mine.plugin"

[tool.hatch.build.targets.wheel]
packages = ["ldm_mine"]

[tool.mypy]
strict = true
packages = ["ldm_mine"]

[tool.pytest.ini_options]
testpaths = ["tests"]
"""


def plugin_module(names: Names, starters: Mapping[str, Starter]) -> str:
    """The module that the entry point names."""
    folders = [s for s in starters.values() if s.folder]
    offers = {kind: s for kind, s in starters.items() if s.target}
    types = [*(["Register"] if offers else []), *(["RegisterModel"] if folders else [])]
    parts = ['"""What this package offers, by name; each is imported when it is used."""\n']
    parts.append("from __future__ import annotations\n")
    if folders:
        parts.append("from pathlib import Path\n")
    parts.append(
        "from ldm_core import hookimpl\n"
        f"from ldm_core.plugins.hookspecs import {', '.join(types)}\n"
    )
    parts.append(f"{API}\n")
    blocks = ["\n".join(parts)]
    for kind, starter in offers.items():
        target = f'"{names.module}.{starter.target}"'
        blocks.append(_hook(KINDS[kind], "Register", [[f'"{names.plugin}"', target]]))
    if folders:
        calls = [
            [
                f'"{s.model.format(name=names.plugin)}"',
                f'Path(__file__).parent / "models" / "{s.folder}"',
                f'"{s.made_for}"',
            ]
            for s in folders
        ]
        blocks.append(_hook("ldm_models", "RegisterModel", calls))
    return "\n\n".join(blocks)


def _hook(hook: str, register: str, calls: Sequence[Sequence[str]]) -> str:
    lines = ["@hookimpl", f"def {hook}(register: {register}) -> None:"]
    for arguments in calls:
        line = f"    register({', '.join(arguments)})"
        if len(line) > WIDTH:
            split = "".join(f"        {argument},\n" for argument in arguments)
            line = f"    register(\n{split}    )"
        lines.append(line)
    return "\n".join([*lines, ""])


def readme(names: Names, starters: Mapping[str, Starter]) -> str:
    """The page that a person reads first."""
    rows = (
        f"| {kind} | {starter.about} | `{draw(starter, names, '.')}` |"
        for kind, starter in starters.items()
    )
    text = (TEMPLATE / "README.md").read_text().replace("KINDS", listed(starters))
    return text.replace("TABLE", "\n".join(rows)).replace('"mine"', names.plugin)


def listed(starters: Mapping[str, Starter]) -> str:
    """The kinds in words."""
    words = [f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}" for kind in starters]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def draw(starter: Starter, names: Names, folder: str) -> str:
    """The command that draws with a plugin.

    Args:
        folder: of the package, as a shell reads it.
    """
    return "ldm " + starter.draw.format(name=names.plugin, folder=folder)
