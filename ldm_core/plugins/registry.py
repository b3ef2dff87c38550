"""The plugins that are installed, found by name."""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core.arguments import checks_arguments
from ldm_core.errors import LdmError, PluginError, did_you_mean, in_full, plainly
from ldm_core.machine import asked_to_stop, machine_error
from ldm_core.plugins import hookspecs
from ldm_core.plugins.blame import OWN, blamed, says_itself
from ldm_core.plugins.docstrings import written_docstring
from ldm_core.plugins.entries import Failure as Failure
from ldm_core.plugins.entries import Import as Import
from ldm_core.plugins.folder import kept_folder
from ldm_core.plugins.hook_api import understood
from ldm_core.plugins.hooks import MODELS, hooks_of
from ldm_core.plugins.names import MOST, check_model, check_name, check_target
from ldm_core.plugins.shipped_model import ShippedModel as ShippedModel
from ldm_core.plugins.trust import LOCAL, Rules, in_force, normalised

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from ldm_core.plugins.earlier import Earlier
    from ldm_core.plugins.options import Option


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
    entry: str | None = None
    """The entry point whose module offers it."""
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
        return target if self.member is None else partial(target, self.member)

    def _import(self) -> Any:
        if not isinstance(self.target, str):
            return self.target
        module, _, attribute = self.target.partition(":")
        if self.distribution != OWN and in_force():
            from ldm_core.plugins.ownership import check_admitted

            check_admitted(self.whose, self.target, self.distribution)
        try:
            with nullcontext() if self.distribution == OWN else kept_folder(lambda: self.whose):
                target = getattr(importlib.import_module(module), attribute)
        except BaseException as raised:
            error = plainly(raised)
            if asked_to_stop(error) or machine_error(error) is not None:
                raise
            if isinstance(error, LdmError) and says_itself(error, self):
                raise LdmError(f"{self.whose}: {error.message}", error.hint) from error
            if self.distribution != OWN:
                doing = f"while it was imported from {self.target}"
                raise PluginError(self.whose, doing, error) from error
            raise LdmError(
                f"{self.whose} cannot be imported from {self.target}: {in_full(error)}"
            ) from error
        if not callable(target):
            cause = TypeError(f"{self.target} is not callable")
            raise PluginError(self.whose, "when it was imported", cause)
        return target

    @cached_property
    def options(self) -> dict[str, Option]:
        from ldm_core.plugins.options import command_options, read_options

        read = command_options if self.kind == "command" else read_options
        target = self.loaded
        with blamed(self, "while its options were read"):
            return read(target)

    @cached_property
    def settable(self) -> dict[str, Option]:
        """Its options, each seen to be one that can be set; a `PluginError` where one cannot."""
        if self.distribution != OWN:
            from ldm_core.plugins.options import check_declared

            with blamed(self, "while its options were read"):
                try:
                    check_declared(self.kind, self.loaded, self.options)
                except PluginError:
                    raise
                except LdmError as error:
                    raise PluginError(self.whose, "while its options were read", error) from error
        return self.options

    @property
    def doc(self) -> str:
        from ldm_core.plugins.options import documentation

        target = self.loaded
        with blamed(self, "while its docstring was read"):
            return documentation(target)

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


class Offer:
    """What one module offers, as its hooks say it.

    Args:
        distribution, version, entry: whose it is.
        earlier: what is to change in it, where it was written for an earlier hook API.
    """

    def __init__(
        self, distribution: str, version: str, entry: str | None, earlier: Earlier | None
    ) -> None:
        self.plugins: list[Plugin] = []
        self.models: list[ShippedModel] = []
        self._whose = (distribution, version)
        self._entry = entry
        self._earlier = earlier
        self._kind: str | None = None

    @contextmanager
    def open_for(self, kind: str) -> Iterator[None]:
        """Meanwhile a hook of a kind runs, and may register."""
        self._kind = kind
        try:
            yield
        finally:
            self._kind = None

    @checks_arguments
    def register(self, name: str, target: Callable[..., Any] | str) -> None:
        kind = self._kind_of(name)
        name = check_name(kind, name, self._whose[0])
        check_target(name, target)
        if len(self.plugins) == MOST:
            raise LdmError(
                f"it offers more than {MOST:,} plugins; a name that ends in ':' is a set"
            )
        plugin = Plugin(kind, name, *self._whose, target, None, self._entry, self._earlier)
        self.plugins.append(plugin)

    @checks_arguments
    def register_model(self, name: str, folder: Path, made_for: str) -> None:
        self._kind_of(name)
        folder = Path(os.fspath(folder))  # a plain one, whatever class it is of
        name = check_model(name, folder, made_for)
        self.models.append(ShippedModel(name, folder, made_for, *self._whose, self._entry))

    def _kind_of(self, name: str) -> str:
        if self._kind is None:
            raise LdmError(f"'{name}' is registered after the hook in which alone it can be")
        return self._kind


class Registry:
    """Plugins by kind and name. `installed()` holds those of the installed packages."""

    def __init__(self) -> None:
        self.plugins: list[Plugin] = []
        self.models: list[ShippedModel] = []
        self.failures: list[Failure] = []
        self.imports: list[Import] = []
        self.entries: list[tuple[str, str]] = []
        """Each distribution with each entry point that there is, imported or not."""
        self.unknown: list[str] = []
        """What is to be said of names in lists of trust that mean nothing."""

    @checks_arguments
    def add(
        self,
        module: object,
        distribution: str = LOCAL,
        version: str = "0",
        entry: str | None = None,
    ) -> None:
        """Take in what a module, or any object with hook implementations, offers.

        Args:
            entry: the entry point that names it.
        Raises:
            LdmError: a hook is misspelt, the hook API is another one, a hook fails, or a name is
                none that the package may use.
        """
        api = understood(module, distribution)
        try:
            with hooks_of(module) as hooks:
                earlier = _earlier(api, module, f"{distribution} {version}", sorted(hooks))
                offer = Offer(distribution, version, entry, earlier)
                for kind, hook in hookspecs.KINDS.items():
                    if hook in hooks:
                        with offer.open_for(kind):
                            hooks[hook](offer.register)
                if MODELS in hooks:
                    with offer.open_for("model"):
                        hooks[MODELS](offer.register_model)
            self._check_once(offer.plugins, offer.models)
        except Exception as raised:
            error = plainly(raised)
            raise LdmError(in_full(error)) from error
        for plugin in offer.plugins:
            words = None if earlier is None else earlier.refused(hookspecs.KINDS[plugin.kind])
            if words is None:
                self.plugins.append(plugin)
            else:
                reason = f"its {plugin.kind} '{plugin.name}' cannot be used: {words}"
                self.failures.append(Failure(plugin.name, distribution, reason, version))
        self.models += offer.models

    def _check_once(self, offered: Sequence[Plugin], models: Sequence[ShippedModel]) -> None:
        """See that a package offers each name of a kind once, which would else mean nothing."""
        whose = {p.distribution for p in offered} | {m.distribution for m in models}
        there = {(p.kind, p.id) for p in self.plugins if p.distribution in whose}
        there |= {("model", m.id) for m in self.models if m.distribution in whose}
        for kind, id in [*((p.kind, p.id) for p in offered), *(("model", m.id) for m in models)]:
            if (kind, id) in there:
                raise LdmError(f"the {kind} '{id}' is offered twice by its package")
            there.add((kind, id))

    def restricted(self, rules: Rules) -> Registry:
        """What these rules leave of it."""
        rest = Registry()
        rest.plugins = [p for p in self.plugins if rules.admit(p.distribution, p.entry)]
        rest.models = [m for m in self.models if rules.admit(m.distribution, m.entry)]
        rest.failures, rest.imports = list(self.failures), list(self.imports)
        rest.entries = list(self.entries)
        return rest

    @checks_arguments
    def find(self, kind: str, name: str) -> Plugin:
        """The plugin of this kind by short name or full id ``distribution:name``.

        Raises:
            LdmError: there is none, or several packages offer the short name.
        """
        plugins = self.named(name, kind)
        if len(plugins) == 1:
            return plugins[0]
        look = f"`ldm plugins list --kind {kind}` shows each with its package."
        if plugins:
            ids = " or ".join(f"'{p.id}'" for p in plugins)
            raise LdmError(f"several packages offer a {kind} named '{name}': say {ids}.", look)
        names = {p.name for p in self.plugins if p.kind == kind}
        broken = "".join(f"\n  not loaded: {failure}" for failure in self.failures)
        from ldm_core.plugins.elsewhere_words import said_of

        meant = said_of(name, kind, self, names) or did_you_mean(name, names)
        raise LdmError(
            f"no {kind} named '{name}'.{meant}",
            f"{len(names)} {kind} plugins are installed; {look}{broken}",
        )

    @checks_arguments
    def named(self, name: str, kind: str | None = None) -> list[Plugin]:
        """Every plugin of this short name or full id, of one kind or of all. A full id means no
        other, whatever prefix a set of names has."""
        package, colon, label = name.partition(":")
        exact = [p for p in self.plugins if colon and p.name == label and kind in (None, p.kind)]
        if exact := [p for p in exact if normalised(p.distribution) == normalised(package)]:
            return exact
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


def installed(rules: Rules | None = None) -> Registry:
    """The plugins of the installed packages; see `ldm_core.plugins.discovery.installed`."""
    from ldm_core.plugins import discovery

    return discovery.installed(rules)


def discover(
    entries: Iterable[EntryPoint], disable: Iterable[str], allow: Iterable[str]
) -> Registry:
    """The plugins of some entry points; see `ldm_core.plugins.discovery.discover`."""
    from ldm_core.plugins import discovery

    return discovery.discover(entries, disable, allow)


def _earlier(api: str, module: object, package: str, hooks: Sequence[str]) -> Earlier | None:
    """Of a module that was written for an earlier hook API, what is to change."""
    if api.partition(".")[0] == str(hookspecs.API_VERSION):
        return None
    from ldm_core.plugins.earlier import Earlier

    return Earlier(package, module, tuple(hooks))
