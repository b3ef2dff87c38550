"""Checks of a plugin that a test makes of a function."""

from __future__ import annotations

from typing import Any

from ldm_core.conformance.checks import Result
from ldm_core.conformance.plugin_checks import of_plugin
from ldm_core.plugins.registry import Plugin, Registry, installed


def results_of(kind: str, target: Any, name: str = "mine", **more: Any) -> dict[str, Result]:
    """What comes of each check of a plugin, by the check's name."""
    registry = Registry()
    plugin = Plugin(kind, name, "ldm-mine", "0.1", target)
    registry.plugins = [*installed().plugins, plugin]
    return {
        result.check: result
        for result in (check.result() for check in of_plugin(plugin, registry, **more))
    }


def failed(kind: str, target: Any, **more: Any) -> dict[str, str]:
    """Why each check of a plugin failed that did."""
    results = results_of(kind, target, **more)
    return {name: r.reason for name, r in results.items() if r.outcome == "failed"}
