"""Checks of the kit, run on plugins that are made in a test."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ldm_core.conformance.checks import CHECKS, NotApplicable, Subject
from ldm_core.plugins.registry import Plugin, Registry, installed

PASSED, SKIPPED = "passed", "skipped: "


def subject(
    kind: str,
    target: Any,
    model: Path | None = None,
    options: Mapping[str, Any] | None = None,
    beside: Mapping[str, tuple[str, Any]] | None = None,
) -> Subject:
    """A plugin of a package of its own, beside the installed ones.

    Args:
        target: the plugin's target.
        beside: others of its package, by name, each a kind and a target.
    """
    registry = Registry()
    plugin = Plugin(kind, "mine", "ldm-mine", "0.1", target)
    others = [Plugin(k, name, "ldm-mine", "0.1", t) for name, (k, t) in (beside or {}).items()]
    registry.plugins = [*installed().plugins, plugin, *others]
    registry.models = installed().models
    return Subject(plugin, registry, model, options or {})


def shipped(kind: str, name: str, model: Path | None = None, /, **options: Any) -> Subject:
    """One of this project's own plugins."""
    return Subject(installed().find(kind, name), installed(), model, options)


@cache
def checks(kind: str) -> Mapping[str, Any]:
    """The checks of a kind, by name."""
    importlib.import_module(f"ldm_core.conformance.kinds.{kind}")
    return {check.name: check for check in CHECKS[kind]}


def outcome(plugin: Subject, name: str) -> str:
    """What comes of one check: "passed" with its figure, "skipped" with the reason, or why it
    failed."""
    try:
        figure = checks(plugin.plugin.kind)[name].function(plugin)
    except NotApplicable as reason:
        return f"{SKIPPED}{reason}"
    except Exception as failure:
        return f"failed: {type(failure).__name__}: {failure}"
    return f"{PASSED} {figure or ''}".strip()


def outcomes(plugin: Subject) -> dict[str, str]:
    """What comes of all checks of a plugin, by name."""
    return {name: outcome(plugin, name) for name in checks(plugin.plugin.kind)}


def failures(plugin: Subject) -> dict[str, str]:
    """The checks that fail."""
    return {name: said for name, said in outcomes(plugin).items() if said.startswith("failed")}


def some_slow(names: Iterable[str], quick: Collection[str]) -> list[Any]:
    """Names for `pytest.mark.parametrize`, all but some of them marked as slow."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]
