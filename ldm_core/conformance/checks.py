"""Named checks of plugins: what there is to see of each kind, and what came of it.

A check is a function of a `Subject` that raises `AssertionError` where the plugin is wrong, and
returns a figure in words, such as ``order 1.98``, or nothing. It may raise `NotApplicable` with a
reason where there is nothing to see, such as the order of a scheduler that declares none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ldm_core.plugins.registry import Plugin, Registry

Outcome = Literal["passed", "failed", "expected", "skipped"]
"""``expected``: it failed, as the package declares, and says why."""
WORDS: Mapping[Outcome, str] = {
    "passed": "PASS",
    "failed": "FAIL",
    "expected": "XFAIL",
    "skipped": "SKIP",
}


class NotApplicable(Exception):
    """There is nothing to see here; the message says why."""


@dataclass(frozen=True)
class Subject:
    """A plugin under check.

    Attributes:
        registry: where it and its neighbours are found.
        model: a model folder for the checks that need one; None where none was given.
        options: with which it is made; its defaults where empty.
    """

    plugin: Plugin
    registry: Registry
    model: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def made(self, **options: Any) -> Any:
        """The part that it stands for, with options set, as the core holds it."""
        from ldm_core.composition.parts import make

        table = {"name": self.plugin.id, **self.options, **options}
        return make(self.plugin.kind, table, self.registry, [], {})


@dataclass(frozen=True)
class Check:
    """One named check of a kind of plugin.

    Attributes:
        kind: of plugin, or ``package`` for those of a package as a whole.
        name: as ``constant_x0``; unique among those of its kind.
        function: see the module; of a package it sees what `package.evidence` gathered.
    """

    kind: str
    name: str
    function: Callable[[Any], str | None]

    @property
    def doc(self) -> str:
        """What it sees."""
        return (self.function.__doc__ or "").strip()


@dataclass(frozen=True)
class Result:
    """What came of a check of a plugin.

    Attributes:
        figure: what was measured, in words; empty where nothing was.
        reason: why it failed, was skipped, or was expected to fail; of one that passed though it is
            declared to fail, that it is.
    """

    plugin: str
    check: str
    outcome: Outcome
    figure: str = ""
    reason: str = ""

    def __str__(self) -> str:
        said = "; ".join(filter(None, (self.figure, self.reason)))
        return "  ".join((f"{WORDS[self.outcome]:5} {self.plugin}", self.check, said)).rstrip()


CHECKS: dict[str, list[Check]] = {}
"""Those of each kind; filled by `check` when the kind's module is imported."""


def check(kind: str) -> Callable[[Callable[[Any], str | None]], Callable[..., str | None]]:
    """Make a function a check of a kind, under its own name."""

    def named(function: Callable[[Any], str | None]) -> Callable[..., str | None]:
        CHECKS.setdefault(kind, []).append(Check(kind, function.__name__, function))
        return function

    return named
