"""What a plugin module declares for checks of its plugins."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ldm_core.errors import LdmError
from ldm_core.values import brief


@dataclass(frozen=True)
class Declared:
    """What stands in a plugin module.

    Attributes:
        failures: ``expected_failures = {"scheduler mine: order": "reason"}``, or ``"order"`` for
            that check of each of its plugins.
        check_options: ``check_options = {"scheduler mine": {"option": value}}``, with which a
            plugin is made for checks.
        problem: what is wrong with what is declared; empty where nothing is. None of it counts
            then.
    """

    failures: Mapping[str, str] = field(default_factory=dict)
    check_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    problem: str = ""

    @classmethod
    def of(cls, modules: Sequence[str]) -> Declared:
        """Of plugin modules that are imported, by name."""
        failures: dict[str, str] = {}
        options: dict[str, Mapping[str, Any]] = {}
        try:
            for name in modules:
                module = sys.modules.get(name)
                failures |= _table(getattr(module, "expected_failures", {}), str, name)
                options |= _table(getattr(module, "check_options", {}), Mapping, name)
            for check, reason in failures.items():
                if not reason.strip():
                    raise LdmError(f"expected_failures gives no reason why '{check}' fails.")
        except LdmError as error:
            return cls(problem=error.message)
        return cls(failures, options)

    def failure(self, plugin: str, check: str) -> str | None:
        """Why a check of a plugin is declared to fail."""
        return self.failures.get(f"{plugin}: {check}", self.failures.get(check))

    def options(self, plugin: str) -> Mapping[str, Any]:
        """With which a plugin is made."""
        return self.check_options.get(plugin, {})


def _table(value: Any, kind: type, module: str) -> dict[str, Any]:
    if isinstance(value, Mapping) and all(
        isinstance(k, str) and isinstance(v, kind) for k, v in value.items()
    ):
        return dict(value)
    raise LdmError(
        f"the module {module} declares {brief(value)}; expected_failures is a table "
        '{"check": "reason"}, and check_options {"scheduler name": {"option": value}}.'
    )
