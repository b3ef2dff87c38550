"""What a command must do: be listed, say what it takes, and say what it reads and writes."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ldm_core.annotations import names_pipeline
from ldm_core.conformance.checks import NotApplicable, Subject, check
from ldm_core.contracts.files import NAMES_FILE, READ, WRITTEN, parts_of
from ldm_core.plugins.command_names import UNUSABLE, listed_as
from ldm_core.plugins.discovery import named_files
from ldm_core.plugins.options import Option, describe

LIMIT = 50.0
IMPORTS = """
import importlib, json, sys
sys.path[:], module = json.loads(sys.argv[1])
before = "torch" in sys.modules
importlib.import_module(module)
sys.stderr.write("\\n" + json.dumps("torch" in sys.modules and not before))
"""
"""Whether torch comes with a module, on the last line of the standard error."""


@check("command")
def helps(subject: Subject) -> str:
    """Asked for its ``--help``, it says what it does and takes, and ends with 0."""
    plugin = subject.plugin
    typed = _typed(subject)
    files = [word for file in named_files() for word in ("--plugin", str(file))]
    began = time.perf_counter()
    run = subprocess.run(  # noqa: S603 - this program itself
        [sys.executable, "-P", "-m", "ldm_core", *files, *typed.split(), "--help"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=LIMIT,
        env={**os.environ, "COLUMNS": "200"},
        check=False,
    )
    lines = [line.strip("╭─╮│╰╯ ") for line in run.stderr.splitlines()]
    last = next((line for line in reversed(lines) if line), "")
    assert run.returncode == 0, f"`ldm {typed} --help` ends with {run.returncode}: {last}"
    assert "Usage" in run.stdout, f"`ldm {typed} --help` says {run.stdout[:60]!r}"
    first = plugin.summary.split()[:3]
    said = " ".join(run.stdout.split())
    _, broken, reason = said.partition(f"({UNUSABLE}:")
    assert not broken, f"it {UNUSABLE}:{reason.partition(')')[0]}"
    assert first, f"the command '{plugin.name}' has no docstring"
    assert " ".join(first) in said, (
        f"`ldm {typed} --help` does not say what it does; its docstring begins with that"
    )
    return f"{time.perf_counter() - began:.1f} s"


@check("command")
def imports_late(subject: Subject) -> str:
    """Its module imports no torch, for which `--help` and a mistyped flag would wait more than a
    second: what it needs is imported in the function, and `Pipeline` for type checkers alone."""
    target = subject.plugin.target
    if not isinstance(target, str):
        raise NotApplicable("is a function that was made in Python, and no module's")
    module = target.partition(":")[0]
    began = time.perf_counter()
    run = subprocess.run(  # noqa: S603 - this program itself
        [sys.executable, "-c", IMPORTS, json.dumps([sys.path, module])],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=LIMIT,
        check=False,
    )
    last = (run.stderr.strip().splitlines() or [""])[-1]
    assert run.returncode == 0, f"importing {module} ends with {run.returncode}: {last}"
    assert last != "true", (
        f"{module} imports torch, for which `ldm {_typed(subject)} --help` waits; import it in the "
        "function, and `Pipeline` under `if TYPE_CHECKING:`"
    )
    return f"{time.perf_counter() - began:.1f} s"


@check("command")
def paths(subject: Subject) -> str:
    """Each path that it takes says whether it is read or written, so that a replay can ask before
    it reads, and leave out what would be written over."""
    count = 0
    for option in _takes(subject.plugin.loaded).values():
        parts = parts_of(option.annotation)
        count += Path in parts
        assert Path not in parts or {READ, WRITTEN, NAMES_FILE, Image.Image} & parts, (
            f"'{option.name}' is a plain Path, of which a replay knows nothing; let it be "
            "ldm_core.contracts.InputPath or OutputPath"
        )
    return f"{count} paths"


@check("command")
def readable_types(subject: Subject) -> str:
    """Its parameters have annotations that can be read where it is called, and help."""
    function = subject.plugin.loaded
    options = _takes(function)
    for option in options.values():
        assert option.annotation is not Any, f"'{option.name}' has no annotation"
        assert option.help, f"'{option.name}' has no help; the docstring says it under `Args:`"
    return f"{len(options)} parameters"


def _typed(subject: Subject) -> str:
    """The words by which it is called, beside what other packages offer."""
    group, name = listed_as(subject.plugin, subject.registry.of_kind("command"))
    return f"{group} {name}".strip()


def _takes(function: Callable[..., Any]) -> dict[str, Option]:
    """What it takes by place and by name, but for the pipeline and a run's own choices."""
    parameters = [
        p
        for i, p in enumerate(inspect.signature(function).parameters.values())
        if p.kind is not p.VAR_KEYWORD and not (i == 0 and _is_pipeline(p))
    ]
    options = describe(function, parameters)
    return {n: o for n, o in options.items() if not is_dataclass(o.annotation)}


def _is_pipeline(parameter: inspect.Parameter) -> bool:
    return names_pipeline(parameter.annotation)
