"""The plugin modules of the installed packages are imported, and asked what they offer."""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
import warnings
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from hashlib import sha256
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from ldm_core.errors import LdmError, LdmWarning, PluginError, plainly, printable, with_class
from ldm_core.machine import asked_to_stop
from ldm_core.plugins import trust
from ldm_core.plugins.blame import OWN
from ldm_core.plugins.died import TWICE, Watch
from ldm_core.plugins.entries import Failure, scan
from ldm_core.plugins.late import anyone_began, began_threads, listing_in, tell_late
from ldm_core.plugins.moved import explained, find_moved
from ldm_core.plugins.ownership import file_of, misplaced, who
from ldm_core.plugins.registry import Import, Plugin, Registry
from ldm_core.plugins.shadowing import modules_of, runs_at_start, shadows
from ldm_core.plugins.surroundings import Surroundings, Traces
from ldm_core.plugins.trust import LOCAL, Names, Rules

_files: tuple[Path, ...] = ()
"""Of plugins that a person names."""
_asking: list[tuple[str, float]] = []
"""The packages whose plugin modules are being imported, and since when, by a clock that only goes
forward."""
_threads: MutableMapping[threading.Thread, str] = WeakKeyDictionary()
_packages: dict[str, str] = {}
"""Packages of others that were listed in this process, in words, by their top-level modules."""
_listed: list[Registry] = []
"""What was listed in this process, the latest last."""
PATIENCE = 5.0
"""Seconds after which it is said whose plugin module is still being imported."""


def name_files(files: Sequence[Path]) -> None:
    """Have the plugins in these files beside those of the installed packages in this process."""
    global _files
    _files = tuple(files)


def named_files() -> tuple[Path, ...]:
    """Those files, for another process."""
    return _files


def answering() -> list[Plugin]:
    """Who may answer for a failure, so far as plugins were listed in this process, for nothing is
    to be imported for it: the plugins, and the modules that offer them, for where nothing that they
    offer was called, such as a function that one left with Python."""
    known = _listed[-1] if _listed else Registry()
    modules = [
        Plugin("plugin module", one.entry, one.distribution, one.version, f"{one.module}:")
        for one in known.imports
    ]
    return [*known.plugins, *modules]


def packages() -> dict[str, str]:
    """The packages of others whose plugins were listed in this process, in words, by their
    top-level modules."""
    return dict(_packages)


def threads_left() -> dict[threading.Thread, str]:
    """Threads that were started while a plugin module was imported, and by whose."""
    return dict(_threads)


@contextmanager
def _threads_of(whose: str) -> Iterator[None]:
    """Keep in mind which threads are begun meanwhile."""
    before = {*threading.enumerate()}
    try:
        yield
    finally:
        if begun := {*threading.enumerate()} - before:
            _threads.update(dict.fromkeys(begun, whose))
            began_threads(whose)


def is_listing() -> bool:
    """Whether plugin modules are being imported, by whose code this is called then."""
    return bool(_asking)


def installed(rules: Rules | None = None) -> Registry:
    """The plugins of the installed packages, imported once in a process for the same rules.

    Args:
        rules: beside those of the environment and of the command line.
    Raises:
        LdmError: a plugin module asks for it while plugins are listed, or a file that a person
            names holds no plugins, or may not be imported.
    """
    if _asking:
        raise LdmError(
            f"the package {_asking[-1][0]} asks for the installed plugins while they are listed; "
            "what needs them is called later"
        )
    both = trust.in_force() if rules is None else trust.in_force().also(rules)
    return once(both, _files)


@cache
def once(rules: Rules, files: tuple[Path, ...]) -> Registry:
    """The plugins that rules admit, and those in some files."""
    entries, failures = scan(careful=bool(rules))
    registry = Registry()
    registry.failures += failures
    _listed[:] = [registry]
    with _watched():
        _take(registry, entries, rules, [(LOCAL, ""), *((LOCAL, file.stem) for file in files)])
        for file in files:
            _add_file(registry, file, rules)
    for text in registry.unknown:
        warnings.warn(LdmWarning(text), stacklevel=2)
    return registry


@contextmanager
def _watched() -> Iterator[None]:
    """Meanwhile plugin modules are imported; where one takes long, it is said for whose the person
    waits."""
    over = threading.Event()
    threading.Thread(target=_say_who_imports, args=[over], daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _say_who_imports(over: threading.Event) -> None:
    told = {OWN}
    while not over.wait(PATIENCE / 10):
        for distribution, since in _asking[-1:]:
            if distribution in told or time.monotonic() - since < PATIENCE:
                continue
            told.add(distribution)
            text = f"the package {distribution} is still being imported after {PATIENCE:.0f} s"
            way = f"LDM_DISABLE_PLUGINS={distribution} in the environment leaves it out"
            warnings.warn(LdmWarning(f"{text}; Ctrl-C ends that, and {way}."), stacklevel=2)


def discover(
    entries: Iterable[EntryPoint], disable: Iterable[str], allow: Iterable[str]
) -> Registry:
    """A registry of the modules that entry points name; what fails is kept as a `Failure`.

    Args:
        entries: entry points of the group ``ldm``.
        disable, allow: distributions or ``distribution:entry``. What is disabled, or not allowed
            where an allow-list is given, is not imported.
    """
    lists = [Names(tuple(names), "a list") for names in (allow, disable)]
    rules = Rules(*(((one,) if one.names else ()) for one in lists))
    registry = Registry()
    _take(registry, list(entries), rules)
    return registry


def _take(
    registry: Registry,
    entries: Sequence[EntryPoint],
    rules: Rules,
    more: Sequence[tuple[str, str]] = (),
) -> None:
    """Take in what may be imported, whatever becomes of each."""
    find_moved()
    registry.entries += [*((who(entry)[0], entry.name) for entry in entries), *more]
    registry.unknown += rules.unknown(registry.entries)
    others = {entry: modules_of(entry) for entry in entries if who(entry)[0] != OWN}
    for entry, modules in others.items():
        distribution, version = who(entry)
        _packages.update(dict.fromkeys(modules, f"the package {distribution} {version}"))
    surroundings = Surroundings({*_packages})
    listing_in(surroundings)
    with Watch() as watch:
        for entry in entries:
            distribution, version = who(entry)
            if not rules.admit(distribution, entry.name):
                continue
            try:
                reason = misplaced(entry) if isinstance(entry.dist, Distribution) else None
                reason = reason or shadows(entry)
            except Exception as error:  # of metadata of another form than any that is known
                reason = f"whose its module is cannot be told: {in_words(error)}"
            if anyone_began():
                tell_late()
            if reason is None:
                reason = _add(registry, entry, surroundings, watch)
            if reason is not None:
                registry.failures.append(Failure(entry.name, distribution, reason, version))


def _top(entry: EntryPoint) -> str:
    """The top-level module of an entry point's."""
    return entry.value.partition(":")[0].partition(".")[0].strip()


def _death(entry: EntryPoint, watch: Watch) -> str | None:
    """Say that a plugin module is imported from now on; where that ends a process, why it is left
    out."""
    distribution, version = who(entry)
    tried = partial(_offer, Registry(), entry)
    ended = watch.over(f"the import of {distribution}:{entry.name}", tried, version)
    if ended is None:
        return None
    again = "Each start tries that again, in a process of its own; "
    warnings.warn(
        LdmWarning(
            f"the package {distribution} {version} is left out: a process that imported it "
            f"{ended}. {'' if ended.startswith(TWICE) else again}"
            f"LDM_DISABLE_PLUGINS={distribution} in the environment ends that."
        ),
        stacklevel=2,
    )
    return f"a process that imported it {ended}"


def _offer(registry: Registry, entry: EntryPoint) -> None:
    """Import a plugin module, and ask it what it offers."""
    distribution, version = who(entry)
    registry.add(entry.load(), distribution, version, entry.name)


def _add(
    registry: Registry, entry: EntryPoint, surroundings: Surroundings, watch: Watch
) -> str | None:
    """Import a plugin module and ask it what it offers; why that cannot be, or None."""
    reason = None
    distribution, version = who(entry)
    since = time.perf_counter()
    plugins, models = len(registry.plugins), len(registry.models)
    _asking.append((distribution, time.monotonic()))
    traces = Traces()
    try:
        if distribution != OWN and (reason := _death(entry, watch)) is not None:
            return reason
        since = time.perf_counter()
        package = _top(entry)
        begun = _threads_of(f"the package {distribution} {version}")
        with begun, surroundings.kept(package) as traces:
            module = entry.load()
            surroundings.find_again(traces.changed)
            registry.add(module, distribution, version, entry.name)
    except BaseException as raised:
        error = plainly(raised)
        if asked_to_stop(error):
            if distribution != OWN:  # it may have sent the signal itself
                error.add_note(f"while the package {distribution} {version} was imported")
            raise
        reason = in_words(error) + explained(error, entry)
    finally:
        _asking.pop()
    seconds = time.perf_counter() - since
    if traces.false:
        names = ", ".join(traces.false[:3])
        reason = f"it put modules of its own in the place of those of others ({names})"
        del registry.plugins[plugins:], registry.models[models:]
    registry.imports.append(
        Import(
            distribution,
            version,
            entry.name,
            seconds,
            tuple(traces.heavy),
            tuple(traces.changed),
            entry.value.partition(":")[0].strip(),
            tuple(runs_at_start(entry)),
        )
    )
    return reason


def _add_file(registry: Registry, file: Path, rules: Rules) -> None:
    """Take in a module that a person names by its file."""
    if not rules.admit(LOCAL, file.stem):
        raise LdmError(
            f"the plugin {file} may not be imported: the lists of plugins leave it out.",
            f"'{LOCAL}', or '{LOCAL}:{file.stem}', in an allow-list lets it in.",
        )
    version = "0+" + sha256(file.read_bytes()).hexdigest()[:12]
    whose = f"the plugin {file}"
    _asking.append((LOCAL, time.monotonic()))
    try:
        with _threads_of(whose), Surroundings().kept(file.stem):
            registry.add(_module(file), LOCAL, version, file.stem)
    except LdmError as error:
        raise LdmError(f"{whose}: {error.message}", error.hint) from error
    except BaseException as raised:
        cause = plainly(raised)
        if asked_to_stop(cause):
            raise
        raise PluginError(whose, "while it was imported", cause) from cause
    finally:
        _asking.pop()


def _module(file: Path) -> Any:
    """The module in a file, under the file's name, by which its lazy targets may name it.

    Raises:
        LdmError: another module has that name.
    """
    name, path = file.stem, str(file.resolve())
    there = sys.modules.get(name)
    if there is not None and file_of(there) == Path(path):
        return there
    sound = name.isidentifier() and name != "__init__"
    if not sound or there is not None or importlib.util.find_spec(name) is not None:
        raise LdmError(
            f"a plugin's file is called as no other module is, and '{name}' is "
            f"{'one already' if sound else 'no name of one'}; call it otherwise."
        )
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def in_words(error: BaseException) -> str:
    """What an error says, in one line; of one that another package made, whatever it says."""
    if isinstance(error, LdmError):
        return printable(str(error))
    return with_class(error)
