"""Every check of some plugins, each ready to be made: of a package, or of plugins by name."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import SkipTest

from ldm_core.conformance.checks import Check, NotApplicable, Result, Subject
from ldm_core.conformance.declared import Declared
from ldm_core.conformance.packages import find_package, packages
from ldm_core.errors import LdmError, did_you_mean, message_and_hint
from ldm_core.plugins.hookspecs import KINDS
from ldm_core.plugins.options import REQUIRED
from ldm_core.plugins.registry import Plugin, Registry, installed
from ldm_core.plugins.trust import LOCAL

KINDS_WITH_MODELS = (*KINDS, "model")
NOT_MADE = frozenset({"command", "writer", "family", "model"})
"""Kinds whose plugins are used as they are, and not made by `Subject.made`."""


@dataclass(frozen=True)
class PluginCheck:
    """One check of one plugin, or of a package.

    Called, as a test calls it, it raises what is wrong.

    Attributes:
        plugin: whose, as ``scheduler mine``, or ``package``.
        subject: what the check's function is called with.
        expected: why the package says that it fails; None where it says nothing of it.
    """

    plugin: str
    check: Check
    subject: Any
    expected: str | None = None

    @property
    def id(self) -> str:
        """As ``scheduler mine: order``."""
        return f"{self.plugin}: {self.check.name}"

    def __call__(self) -> None:
        """Make the check.

        Raises:
            AssertionError: it fails.
            unittest.SkipTest: there is nothing to see.
        """
        result = self.result()
        if result.outcome == "skipped":
            raise SkipTest(result.reason)
        assert result.outcome == "passed", result.reason

    def result(self) -> Result:
        """What comes of it; nothing but an interrupt leaves it."""
        named = Result(self.plugin, self.check.name, "passed")
        try:
            figure = self.check.function(self.subject) or ""
        except NotApplicable as error:
            return replace(named, outcome="skipped", reason=one_line(error))
        except (AssertionError, LdmError) as error:
            reason = one_line(error) or f"{type(error).__name__}{_where(error)}"
            if self.check.name != "made" and reason == self._not_made():
                reason = "it cannot be made, as its check 'made' says"
        except (Exception, SystemExit) as error:
            reason = f"{type(error).__name__}: {one_line(error)}{_where(error)}"
        else:
            if self.expected is None:
                return replace(named, figure=figure)
            return replace(
                named,
                figure=figure,
                reason=f"it passes, and is declared to fail ({self.expected}): take that back",
            )
        if self.expected is not None:
            return replace(named, outcome="expected", reason=f"{self.expected} ({reason})")
        return replace(named, outcome="failed", reason=reason)

    def _not_made(self) -> str | None:
        """Why the plugin as it is cannot be made; None where it can, and of a package."""
        if not isinstance(self.subject, Subject):
            return None
        try:
            _made(self.subject)
        except (Exception, SystemExit) as error:
            return one_line(error)
        return None


def one_line(error: object) -> str:
    """What an error says, in one line; one of ours with where to look."""
    if isinstance(error, LdmError):
        message, hint = message_and_hint(error)
        error = f"{message.rstrip('.')}; {hint}" if hint else message
    return " ".join(str(error).split())


def _where(error: BaseException) -> str:
    """The line in which an error was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


def checks_of(
    target: str, model: Path | None = None, registry: Registry | None = None
) -> list[PluginCheck]:
    """Every check of the plugins that a distribution offers, or of those of a name.

    Those of the package as a whole, which look at a process of its own, are in
    `ldm_core.conformance.runner`. The order is that of the kinds, of names, and of the checks.

    Args:
        target: a distribution; a plugin's name, id (``distribution:name``) or ``kind:name``.
        model: a model folder for the checks that need one.
    Raises:
        LdmError: there is no such distribution or plugin.
    """
    if not __debug__:
        raise LdmError("checks assert what they see, and python -O leaves that out.")
    registry = registry or installed()
    chosen, checks = plugins_of(target, registry), []
    for distribution in dict.fromkeys(plugin.distribution for plugin in chosen):
        those = [plugin for plugin in chosen if plugin.distribution == distribution]
        declared = Declared.of(_modules(distribution, those))
        for plugin in those:
            checks += of_plugin(plugin, registry, model, declared)
    return checks


def _modules(distribution: str, plugins: Sequence[Plugin]) -> Sequence[str]:
    """Those in which a distribution declares something; of plugins in files, the files' own."""
    if distribution == LOCAL:
        return sorted({plugin.entry for plugin in plugins if plugin.entry})
    package = find_package(distribution)
    return package.modules if package else ()


def plugins_of(target: str, registry: Registry) -> list[Plugin]:
    """Those that a distribution offers, or those of a name; models that ship among them."""
    plugins = [*registry.plugins, *map(as_plugin, registry.models)]
    package = find_package(target)
    if package is not None:
        chosen = [plugin for plugin in plugins if plugin.distribution == package.name]
    else:
        chosen = _named(target, plugins, registry)
        chosen = chosen or [plugin for plugin in plugins if target == LOCAL == plugin.distribution]
    if not chosen and package is None:
        names = {plugin.name for plugin in plugins} | {package.name for package in packages()}
        raise LdmError(
            f"no distribution, folder or plugin '{target}'.{did_you_mean(target, names)}",
            "`ldm plugins list` shows each plugin with its distribution.",
        )
    order = KINDS_WITH_MODELS.index
    return sorted(chosen, key=lambda plugin: (order(plugin.kind), plugin.id))


def _named(target: str, plugins: Sequence[Plugin], registry: Registry) -> list[Plugin]:
    kind, _, name = target.partition(":")
    if kind in KINDS_WITH_MODELS and name:
        of_kind = registry.named(name, kind)
        return of_kind or [p for p in plugins if p.kind == kind and name in (p.name, p.id)]
    return registry.named(target) or [p for p in plugins if target in (p.name, p.id)]


def as_plugin(model: Any) -> Plugin:
    """A model that ships, as the other plugins are held."""
    return Plugin("model", model.name, model.distribution, model.version, lambda: model)


def of_plugin(
    plugin: Plugin,
    registry: Registry,
    model: Path | None = None,
    declared: Declared | None = None,
) -> list[PluginCheck]:
    """Every check of one plugin. One that offers a whole set, or that needs options for which its
    package declares no values, gets one alone, which says so."""
    from ldm_core.conformance.kinds import checks_of_kind

    declared = declared or Declared()
    label = f"{plugin.kind} {plugin.name}"
    options = declared.options(label)
    subject = Subject(plugin, registry, model, options)
    reason = why_not_made(plugin, options)
    if reason is not None:
        checks: Sequence[Check] = [Check(plugin.kind, "made", _skipped(reason))]
    else:
        checks = [Check(plugin.kind, "made", _made), *checks_of_kind(plugin.kind)]
    return [
        PluginCheck(label, check, subject, declared.failure(label, check.name)) for check in checks
    ]


def why_not_made(plugin: Plugin, options: Mapping[str, Any]) -> str | None:
    """Why a plugin cannot be made for checks; None where it can, or where it is a failure."""
    if plugin.name.endswith(":"):
        return f"it offers a set; name one of it, as `ldm plugins check {plugin.name}NAME`"
    if plugin.kind in ("model", "command"):
        return None
    try:
        needed = [name for name, option in plugin.options.items() if option.default is REQUIRED]
    except (Exception, SystemExit):
        return None
    if missing := [name for name in needed if name not in options]:
        return (
            f"it needs the option {', '.join(missing)}; the plugin module may declare "
            f'check_options = {{"{plugin.kind} {plugin.name}": {{"{missing[0]}": ...}}}}'
        )
    return None


def _skipped(reason: str) -> Any:
    def made(subject: Subject) -> str | None:
        raise NotApplicable(reason)

    return made


def _made(subject: Subject) -> str | None:
    """It is imported, its options are read, and its factory gives a part of its kind."""
    plugin = subject.plugin
    if plugin.kind == "model":
        return None
    count = len(plugin.options)
    if plugin.kind not in NOT_MADE:
        subject.made()
    return f"{count} option{'' if count == 1 else 's'}"
