"""The plugins that are installed, found by name."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from ldm_core.arguments import checks_arguments
from ldm_core.errors import LdmError, did_you_mean
from ldm_core.plugins import hookspecs
from ldm_core.plugins.docstrings import written_docstring
from ldm_core.plugins.hook_api import understood
from ldm_core.plugins.moved import explained, find_moved

if TYPE_CHECKING:
    from ldm_core.plugins.earlier import Earlier
    from ldm_core.plugins.options import Option

GROUP = "ldm"
DISABLE = "LDM_DISABLE_PLUGINS"
ALLOW = "LDM_ALLOW_PLUGINS"


@dataclass(frozen=True)
class Plugin:
    """One named thing that a package offers.

    A name that ends in a colon offers a whole set: ``diffusers:`` is asked for as
    ``diffusers:UniPCMultistepScheduler``, and its target gets the rest as its one positional
    argument.
    """

    kind: str
    name: str
    distribution: str
    version: str
    target: Callable[..., Any] | str = field(repr=False)
    member: str | None = None
    earlier: Earlier | None = field(default=None, repr=False, compare=False)
    """Of one that was written for an earlier hook API: what is to change."""

    @property
    def id(self) -> str:
        return f"{self.distribution}:{self.name}"

    @property
    def whose(self) -> str:
        """It with its package, for messages."""
        return f"the {self.kind} '{self.name}' of the package {self.distribution} {self.version}"

    @property
    def package(self) -> str:
        """The top-level module that it comes from."""
        if isinstance(self.target, str):
            return self.target.partition(":")[0].partition(".")[0]
        module = inspect.getmodule(self.target)
        return module.__name__.partition(".")[0] if module else ""

    @cached_property
    def loaded(self) -> Callable[..., Any]:
        """The function or factory; imports its module on first use."""
        if self.earlier is not None:
            self.earlier.warn()
        target = self._import()
        if self.member is None:
            return target
        return partial(target, self.member)

    def _import(self) -> Callable[..., Any]:
        if not isinstance(self.target, str):
            return self.target
        module, _, attribute = self.target.partition(":")
        try:
            target = getattr(importlib.import_module(module), attribute)
        except Exception as error:
            raise LdmError(
                f"{self.kind} '{self.name}' of the package {self.distribution} {self.version} "
                f"cannot be imported from {self.target}: {_cause(error)}"
            ) from error
        if not callable(target):
            raise LdmError(f"{self.kind} '{self.name}': {self.target} is not callable.")
        return target  # type: ignore[no-any-return]

    @cached_property
    def options(self) -> dict[str, Option]:
        from ldm_core.plugins.options import command_options, read_options

        read = command_options if self.kind == "command" else read_options
        return read(self.loaded)

    @property
    def doc(self) -> str:
        from ldm_core.plugins.options import documentation

        return documentation(self.loaded)

    @property
    def written_doc(self) -> str:
        """The doc as its source has it, where that can be read without importing the plugin; else
        the doc."""
        written = written_docstring(self.target) if isinstance(self.target, str) else None
        return self.doc if written is None else written

    @property
    def summary(self) -> str:
        """The first paragraph of the doc, in one line; see `written_doc`."""
        return " ".join(self.written_doc.partition("\n\n")[0].split())


@dataclass(frozen=True)
class ShippedModel:
    """A model folder that comes with an installed package."""

    name: str
    folder: Path
    made_for: str
    distribution: str
    version: str


@dataclass(frozen=True)
class Failure:
    """A plugin module that could not be used, and why; the rest goes on without it."""

    plugin: str
    distribution: str
    reason: str

    def __str__(self) -> str:
        return f"plugin '{self.plugin}' of the package {self.distribution}: {self.reason}"


class Registry:
    """Plugins by kind and name. `installed()` holds those of the installed packages."""

    def __init__(self) -> None:
        self.plugins: list[Plugin] = []
        self.models: list[ShippedModel] = []
        self.failures: list[Failure] = []
        self._manager = pluggy.PluginManager("ldm")
        self._manager.add_hookspecs(hookspecs)

    @checks_arguments
    def add(self, module: object, distribution: str = "local", version: str = "0") -> None:
        """Take in what a module, or any object with hook implementations, offers.

        Raises:
            LdmError: a hook is misspelt, the hook API is another one, or a hook fails.
        """
        api = understood(module, distribution)
        # Two packages may each call their module `plugin`.
        self._manager.register(module, f"{distribution}:{id(module)}")
        try:
            self._manager.check_pending()
            offered: list[Plugin] = []
            earlier = self._earlier(api, module, f"{distribution} {version}")
            for kind, hook in hookspecs.KINDS.items():

                @checks_arguments
                def register(name: str, target: Callable[..., Any] | str, kind: str = kind) -> None:
                    _check_target(name, target)
                    plugin = Plugin(kind, name, distribution, version, target, earlier=earlier)
                    offered.append(plugin)

                self._call(hook, module, register)
            models: list[ShippedModel] = []

            @checks_arguments
            def register_model(name: str, folder: Path, made_for: str) -> None:
                models.append(ShippedModel(name, Path(folder), made_for, distribution, version))

            self._call("ldm_models", module, register_model)
        except Exception as error:
            self._manager.unregister(module)
            if isinstance(error, pluggy.PluginValidationError):
                hooks = [*hookspecs.KINDS.values(), "ldm_models"]
                word = str(error).partition("unknown hook '")[2].partition("'")[0]
                raise LdmError(f"no hook named '{word}'.{did_you_mean(word, hooks)}") from error
            raise LdmError(_cause(error)) from error
        for plugin in offered:
            words = None if earlier is None else earlier.refused(hookspecs.KINDS[plugin.kind])
            if words is None:
                self.plugins.append(plugin)
            else:
                reason = f"its {plugin.kind} '{plugin.name}' cannot be used: {words}"
                self.failures.append(Failure(plugin.name, distribution, reason))
        self.models += models

    @checks_arguments
    def find(self, kind: str, name: str) -> Plugin:
        """The plugin of this kind by short name or full id ``distribution:name``.

        Raises:
            LdmError: there is none, or several packages offer the short name.
        """
        of_kind = [p for p in self.plugins if p.kind == kind]
        plugins = self.named(name, kind)
        if len(plugins) == 1:
            return plugins[0]
        look = f"`ldm plugins list --kind {kind}` shows each with its package."
        if plugins:
            ids = " or ".join(f"'{p.id}'" for p in plugins)
            raise LdmError(f"several packages offer a {kind} named '{name}': say {ids}.", look)
        names = {p.name for p in of_kind}
        broken = "".join(f"\n  not loaded: {failure}" for failure in self.failures)
        raise LdmError(
            f"no {kind} named '{name}'.{did_you_mean(name, names)}",
            f"{len(names)} {kind} plugins are installed; {look}{broken}",
        )

    @checks_arguments
    def named(self, name: str, kind: str | None = None) -> list[Plugin]:
        """Every plugin of this short name or full id, of one kind or of all."""
        plugins = []
        for plugin in (p for p in self.plugins if kind in (None, p.kind)):
            if not plugin.name.endswith(":"):
                plugins += [plugin] if name in (plugin.name, plugin.id) else []
                continue
            for prefix in (plugin.name, plugin.id):
                if name.startswith(prefix) and name != prefix:
                    member = name.removeprefix(prefix)
                    plugins.append(replace(plugin, name=plugin.name + member, member=member))
        return plugins

    @checks_arguments
    def of_kind(self, kind: str) -> list[Plugin]:
        return sorted((p for p in self.plugins if p.kind == kind), key=lambda p: p.id)

    def _earlier(self, api: str, module: object, package: str) -> Earlier | None:
        """Of a module that was written for an earlier hook API, what is to change."""
        if api.partition(".")[0] == str(hookspecs.API_VERSION):
            return None
        from ldm_core.plugins.earlier import Earlier

        callers = self._manager.get_hookcallers(module) or []
        return Earlier(package, module, tuple(sorted(caller.name for caller in callers)))

    def _call(self, hook: str, module: object, register: Callable[..., None]) -> None:
        others = [p for p in self._manager.get_plugins() if p is not module]
        self._manager.subset_hook_caller(hook, others)(register=register)


def discover(
    entries: Iterable[EntryPoint], disable: Iterable[str], allow: Iterable[str]
) -> Registry:
    """A registry of the modules that entry points name; what fails is kept as a `Failure`.

    Args:
        entries: entry points of the group ``ldm``.
        disable, allow: distributions, entry names or ``distribution:entry``. What is disabled,
            or not allowed where an allow-list is given, is not imported.
    """
    registry = Registry()
    find_moved()
    disable, allow = set(disable), set(allow)
    seen: set[str] = set()
    for entry in entries:
        distribution = entry.dist.name if entry.dist else "unknown"
        version = entry.dist.version if entry.dist else "0"
        labels = {distribution, entry.name, f"{distribution}:{entry.name}"}
        seen |= labels
        if labels & disable or (allow and not labels & allow):
            continue
        try:
            registry.add(entry.load(), distribution, version)
        except Exception as error:
            reason = _cause(error) + explained(error, entry)
            registry.failures.append(Failure(entry.name, distribution, reason))
    for variable, names in ((DISABLE, disable), (ALLOW, allow)):
        for name in sorted(names - seen):
            reason = f"named in {variable}, but no such plugin is installed"
            registry.failures.append(Failure(name, "?", reason + "." + did_you_mean(name, seen)))
    return registry


@cache
def installed() -> Registry:
    """The plugins of the installed packages, found once in a process.

    The environment variables ``LDM_DISABLE_PLUGINS`` and ``LDM_ALLOW_PLUGINS`` (names with
    commas) are read before anything is imported, and so reach worker processes too.
    """

    def names(variable: str) -> list[str]:
        return [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]

    return discover(entry_points(group=GROUP), names(DISABLE), names(ALLOW))


def raised_in(error: BaseException, registry: Registry) -> str | None:
    """The package outside this one whose code an error comes from, and where; None of no other."""
    owners = {plugin.package: plugin for plugin in registry.plugins}
    found = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        owner = owners.get(str(frame.f_globals.get("__name__")).partition(".")[0])
        if owner is not None and owner.distribution != "ldm-core":
            package = f"{owner.distribution} {owner.version}"
            found = f"the package {package}, {frame.f_code.co_filename}:{line}"
    return found


def _check_target(name: str, target: Callable[..., Any] | str) -> None:
    """See that a plugin has a name, and that one which is imported later says from where."""
    if not name.strip() or not name.isprintable():
        raise LdmError(f"the name of a plugin should be a word, not {name!r}")
    if isinstance(target, str) and not re.fullmatch(r"\w+(\.\w+)*:\w+", target):
        raise LdmError(f"the target of '{name}' should be 'package.module:name', not {target!r}")


def _cause(error: BaseException) -> str:
    return str(error) if isinstance(error, LdmError) else f"{type(error).__name__}: {error}"
