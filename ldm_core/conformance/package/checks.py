"""The checks of a package as a whole."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from ldm_core.conformance.certificate import holds_for
from ldm_core.conformance.checks import CHECKS, Check, NotApplicable, check
from ldm_core.conformance.package.evidence import Evidence
from ldm_core.conformance.package.listing import Listing
from ldm_core.conformance.package.places import check_places
from ldm_core.conformance.package.state import QUESTIONS
from ldm_core.conformance.package.unread import is_read
from ldm_core.conformance.packages import normalised
from ldm_core.errors import LdmError, did_you_mean
from ldm_core.plugins.blame import OWN
from ldm_core.plugins.hook_api import stated_range, understood
from ldm_core.plugins.names import CORE_COMMANDS
from ldm_core.plugins.options import REQUIRED
from ldm_core.plugins.registry import Plugin

KIND = "package"
MOST_CPU, MOST_WALL = 0.5, 2.0
"""Seconds that listing may take: of the processor, and by the clock, for one that waits."""


@check(KIND)
def listing(seen: Evidence) -> str:
    """Its modules are imported and its hooks called without an error, and the host admits all."""
    own = {entry.name for entry in seen.package.entries}
    for failure in seen.registry.failures:
        ours = normalised(failure.distribution) == normalised(seen.package.name)
        assert not (ours and failure.plugin in own), failure.reason
    for error in dict.fromkeys(one.error for one in _listings(seen)):
        assert not error, error
    admitted = {(plugin.kind, plugin.name) for plugin in seen.plugins}
    lost = [f"{k} {n!r}" for k, n, _ in seen.warm.offers if (k, n) not in admitted]
    assert not lost, f"the host does not admit {', '.join(lost)}"
    assert seen.warm.offers, "it offers nothing"
    return f"{len(seen.warm.offers)} plugins"


@check(KIND)
def import_seconds(seen: Evidence) -> str:
    """Listing it takes no time that every command would wait for."""
    fresh = _fresh(seen)
    figure = f"{fresh.cpu:.2f} s of the processor, {fresh.wall:.2f} s by the clock"
    if fresh.cpu > MOST_CPU or fresh.wall > MOST_WALL:
        raise AssertionError(
            f"every command waits for the import of its plugin modules: {figure}; import what is "
            "heavy inside the functions that need it"
        )
    return figure


@check(KIND)
def heavy_imports(seen: Evidence) -> None:
    """Listing it imports nothing heavy."""
    heavy = ", ".join(_fresh(seen).heavy)
    assert not heavy, (
        f"its plugin modules import {heavy}, and with that every command does; name targets "
        "lazily, 'package.module:name', or import under TYPE_CHECKING and inside functions"
    )


@check(KIND)
def standard_output(seen: Evidence) -> None:
    """It prints nothing to the standard output, which belongs to results."""
    for when, seen_then in _times(seen):
        said = " ".join(seen_then.printed.split())
        assert not said, f"it prints {said[:60]!r} to the standard output {when}"


def unchanged(name: str, what: str) -> Check:
    """The check that sees that something which all code of a process shares is as it was."""

    def check_state(seen: Evidence) -> None:
        for when, seen_then in _times(seen):
            change = seen_then.changed.get(name)
            assert not change, f"it changes what all share {when}: {change}"

    check_state.__doc__ = f"Listing and making its plugins leaves {what} as before."
    return Check(KIND, name, check_state)


CHECKS[KIND] += [unchanged(name, what) for name, what in QUESTIONS.items()]


@check(KIND)
def patches(seen: Evidence) -> None:
    """It replaces nothing in other packages' modules and classes."""
    listed = ", ".join(seen.patched[:5])
    more = f" and {len(seen.patched) - 5} more" if len(seen.patched) > 5 else ""
    assert not seen.patched, f"it replaces {listed}{more}"


@check(KIND)
def names(seen: Evidence) -> str:
    """Each name is a word of its own, and no command of the core's."""
    offers = [(kind, name) for kind, name, _ in seen.warm.offers]
    for kind, name in offers:
        assert name is not None, f"the name of a {kind} is no text"
        bare = name.removesuffix(":")
        odd = not bare or bare != bare.strip() or not bare.isprintable() or {*":/"} & {*bare}
        assert not odd, f"{name!r} is no name; it is a word, without colon or slash"
        assert kind == "command" or " " not in bare, f"a name is one word, and {name!r} is several"
        assert kind != "command" or bare.split()[0] not in CORE_COMMANDS, (
            f"the command '{bare}' would take the place of the core's own '{bare.split()[0]}'"
        )
    doubled = {f"{kind} '{name}'" for kind, name in offers if offers.count((kind, name)) > 1}
    assert not doubled, f"it offers {', '.join(sorted(doubled))} more than once"
    others = {
        (p.kind, p.name)
        for p in seen.registry.plugins
        if p.distribution == OWN and seen.package.name != OWN
    }
    shared = [f"'{name}'" for kind, name in offers if (kind, name) in others]
    also = f"; {', '.join(shared)} also ldm-core's, and needs its full id" if shared else ""
    return f"{len(offers)} names{also}"


@check(KIND)
def targets(seen: Evidence) -> str:
    """Each target is there and can be called."""
    lazy = 0
    for plugin in _plugins(seen):
        lazy += isinstance(plugin.target, str)
        _see_target(plugin)
    return f"{lazy} of {len(_plugins(seen))} lazy"


@check(KIND)
def docs(seen: Evidence) -> str:
    """Each plugin has a docstring, and each option its help in the ``Args:`` of that."""
    count = 0
    for plugin in _loaded(seen):
        assert plugin.doc.strip(), f"the {plugin.kind} '{plugin.name}' has no docstring"
        for option in plugin.options.values():
            count += 1
            assert option.help, (
                f"the option '{option.name}' of the {plugin.kind} '{plugin.name}' has no help; its "
                "docstring says it under `Args:`"
            )
    return f"{count} options helped"


@check(KIND)
def options(seen: Evidence) -> str:
    """Options are keyword-only and annotated, their defaults fit that and a manifest, and the code
    reads each of them."""
    count = 0
    for plugin in _loaded(seen):
        whose = f"the {plugin.kind} '{plugin.name}'"
        if plugin.kind != "command":
            check_places(plugin, whose)
        for option in plugin.options.values():
            count += 1
            one = f"the option '{option.name}' of {whose}"
            assert option.annotation is not Any, f"{one} has no annotation"
            assert is_read(plugin.loaded, option.name), (
                f"{one} is read nowhere in its code, so that nothing comes of it"
            )
            if option.default is REQUIRED or option.default is None or option.kind:
                if option.default is None and not option.kind:
                    option.check(None, whose)
                continue
            option.check(option.default, whose)
            try:
                json.dumps(option.default, default=_plain)
            except (TypeError, ValueError):
                raise AssertionError(
                    f"{one} has the default {option.default!r}, which no recipe can hold"
                ) from None
    return f"{count} options"


@check(KIND)
def hook_api(seen: Evidence) -> str:
    """Its modules state the range of the hook API that they are written for."""
    said = []
    for entry in seen.package.entries:
        try:
            module = entry.load()
        except (Exception, SystemExit):
            raise NotApplicable("a module cannot be imported") from None
        understood(module, seen.package.name)
        said.append(stated_range(module, seen.package.name).text)
    return ", ".join(dict.fromkeys(said))


@check(KIND)
def metadata(seen: Evidence) -> str:
    """It says its version, its licence, and a range of ldm-core that it needs."""
    told: Any = seen.package.distribution.metadata
    version = told.get("Version") or ""
    try:
        Version(version)
    except InvalidVersion:
        raise AssertionError(f"its version is {version!r}, none that PEP 440 knows") from None
    licence = told.get("License-Expression") or told.get("License") or ""
    classes = [c for c in told.get_all("Classifier") or () if c.startswith("License ::")]
    assert licence.strip() or classes, "it says no licence; pyproject.toml has `license` for it"
    said = f"{version}, {licence.split(chr(10))[0][:40] or classes[0]}"
    if normalised(seen.package.name) == OWN:
        return said
    needs = list(_requirements(told.get_all("Requires-Dist") or ()))
    ours = [need for need in needs if normalised(need.name) == OWN]
    assert ours, 'it does not say that it needs ldm-core; dependencies = ["ldm-core>=0.2"]'
    low = [s for need in ours for s in need.specifier if s.operator in (">=", "==", "~=", ">")]
    assert low, f"it needs any {ours[0]}; say from which version on, as ldm-core>=0.2"
    host = importlib.metadata.version(OWN)
    for need in ours:
        assert need.specifier.contains(host, prereleases=True), (
            f"it needs {need}, and this is ldm-core {host}, beside which pip would not install it"
        )
    return f"{said}, {ours[0]}"


@check(KIND)
def own_module(seen: Evidence) -> str:
    """Its entry points name modules of its own, and no other package brings the same."""
    owners = importlib.metadata.packages_distributions()
    for top in seen.package.tops:
        others = {normalised(n) for n in owners.get(top, ())} - {normalised(seen.package.name)}
        assert not others, f"the module '{top}' also belongs to {', '.join(sorted(others))}"
    return ", ".join(seen.package.tops)


@check(KIND)
def declarations(seen: Evidence) -> str:
    """Expected failures and options for checks name checks and plugins that there are."""
    from ldm_core.conformance.kinds import checks_of_kind

    assert not seen.declared.problem, seen.declared.problem
    kinds = {plugin.kind for plugin in seen.plugins}
    known = {c.name for kind in kinds for c in checks_of_kind(kind)} | {"made", "leaves_no_trace"}
    known |= {c.name for c in CHECKS[KIND]}
    labels = {f"{plugin.kind} {plugin.name}" for plugin in seen.plugins} | {KIND}

    def offered(label: str) -> bool:
        sets = (one for one in labels if one.endswith(":"))
        return label in labels or any(label.startswith(one) for one in sets)

    for key in seen.declared.failures:
        label, _, name = key.rpartition(": ")
        assert name in known, f"expected_failures names the check {name!r}, and there is none."
        assert not label or offered(label), (
            f"expected_failures names {label!r}.{did_you_mean(label, labels)}"
        )
    for label in seen.declared.check_options:
        assert offered(label), f"check_options names {label!r}.{did_you_mean(label, labels)}"
    count = len(seen.declared.failures)
    return f"{count} expected failure{'' if count == 1 else 's'}"


@check(KIND)
def certificate(seen: Evidence) -> str:
    """The certificate that it ships is for these files, this version, and passed."""
    file = seen.certificate or seen.package.certificate()
    if seen.certifying or file is None:
        raise NotApplicable("it ships no certificate")
    return holds_for(file, seen.package)


def _listings(seen: Evidence) -> list[Listing]:
    return [one for one in (seen.fresh, seen.warm) if one is not None]


def _fresh(seen: Evidence) -> Listing:
    if seen.fresh is None:
        raise NotApplicable("it was not listed in a process of its own")
    return seen.fresh


def _times(seen: Evidence) -> list[tuple[str, Listing]]:
    listed = [("while it is listed", one) for one in _listings(seen)]
    return [*listed, ("while its plugins are made", seen.made)]


def _plugins(seen: Evidence) -> list[Plugin]:
    return [plugin for plugin in seen.plugins if plugin.kind != "model"]


def _loaded(seen: Evidence) -> Iterator[Plugin]:
    """Those whose options can be read; the others' own checks say why not."""
    for plugin in _plugins(seen):
        with suppress(Exception, SystemExit):
            plugin.options  # noqa: B018
            yield plugin


def _see_target(plugin: Plugin) -> None:
    try:
        plugin.loaded  # noqa: B018 - imports it
    except LdmError as error:
        raise AssertionError(error.message) from None
    except (Exception, SystemExit) as error:
        raise AssertionError(
            f"the {plugin.kind} '{plugin.name}' raises {type(error).__name__}: {error}"
        ) from None


def _plain(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError


def _requirements(lines: Any) -> Iterator[Requirement]:
    for line in lines:
        try:
            yield Requirement(line)
        except InvalidRequirement:
            raise AssertionError(f"it requires {line!r}, which names no distribution") from None
