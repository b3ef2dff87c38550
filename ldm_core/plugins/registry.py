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

if TYPE_CHECKING:
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

    @property
    def id(self) -> str:
        return f"{self.distribution}:{self.name}"


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
        _check_version(getattr(module, "ldm_api_version", None))
        # Two packages may each call their module `plugin`.
        self._manager.register(module, f"{distribution}:{id(module)}")
        try:
            self._manager.check_pending()
            offered: list[Plugin] = []
            for kind, hook in hookspecs.KINDS.items():

                @checks_arguments
                def register(name: str, target: Callable[..., Any] | str, kind: str = kind) -> None:
                    _check_target(name, target)
                    offered.append(Plugin(kind, name, distribution, version, target))

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
        self.plugins += offered
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
            registry.failures.append(Failure(entry.name, distribution, _cause(error)))
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


def _check_version(stated: Any) -> None:
    """See that a module was written for the hook API of now, or for a range that holds it."""
    now = hookspecs.API_VERSION
    lowest, highest = stated if isinstance(stated, tuple) and len(stated) == 2 else (stated, stated)
    if isinstance(lowest, int) and isinstance(highest, int) and lowest <= now <= highest:
        return
    says = "does not say which" if stated is None else f"says {stated}"
    raise LdmError(
        f"it must state the hook API it was written for, ldm_api_version = {now}, or the lowest "
        f"and the highest, such as ({now}, {now + 1}); it {says}"
    )


def _cause(error: BaseException) -> str:
    return str(error) if isinstance(error, LdmError) else f"{type(error).__name__}: {error}"
