"""Plugins that made a picture and are not there now: whose they were, and what brings them back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version

from ldm_core.errors import LdmError
from ldm_core.media.manifest_names import canonical
from ldm_core.media.manifest_packages import imported, versions
from ldm_core.media.manifest_record import Manifest
from ldm_core.plugins.registry import Registry
from ldm_core.plugins.trust import LOCAL

NAME, VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*"), re.compile(r"[A-Za-z0-9][\w.!+-]*")
"""Of packages that a command for a person's shell may name: a picture may come from anybody."""


def not_installed(
    missing: Iterable[tuple[str, str]], then: Manifest, registry: Registry
) -> LdmError:
    """The error that names plugins which are not installed, and the command that installs them.

    Args:
        missing: kind and id of each, a model's kind being ``model``.
    """
    names = sorted(missing)
    packages = {id.partition(":")[0] for _, id in names if ":" in id}
    there = [reason for package in sorted(packages) for reason in _why(package, registry)]
    return LdmError(
        "the picture was made by plugins that are not installed: "
        f"{', '.join(whose(kind, id, then) for kind, id in names)}."
        + "".join(f" {reason}" for reason in there),
        install(packages, then),
    )


def whose(kind: str, id: str, then: Manifest) -> str:
    """A plugin of then with its package, in words."""
    distribution, colon, name = id.partition(":")
    if not colon:
        return f"{kind} '{id}'"
    return f"{kind} '{name}' of {distribution} {packages_of(then).get(distribution, '')}".rstrip()


def _why(package: str, registry: Registry) -> Iterator[str]:
    """Why a package that is installed does not offer what it did."""
    if canonical(package) == LOCAL:  # whatever is installed under that name is not it
        return
    try:
        now = version(package)
    except (PackageNotFoundError, ValueError):
        return
    failures = [f for f in registry.failures if canonical(f.distribution) == canonical(package)]
    if failures:
        yield f"{package} {now} is installed and not loaded: {failures[0].reason}."
    elif package in imported(registry):
        yield f"{package} {now} is installed, and offers nothing of that name."
    else:
        yield f"{package} {now} is installed, and not loaded: `ldm plugins list` shows what is."


def packages_of(then: Manifest) -> dict[str, str]:
    """The version of each package of then that a manifest knows."""
    return {**then.imported, **then.versions}


def install(packages: Iterable[str], then: Manifest) -> str:
    """The command that installs packages as they were, in words, and what brings back the plugins
    of a file, whose package nobody installs: anyone could take its name in a package index."""
    words, files = [], False
    for package in sorted(packages):
        release = packages_of(then).get(package, "")
        if canonical(package) == LOCAL:
            files = True
        elif NAME.fullmatch(package):
            words.append(f"{package}=={release}" if VERSION.fullmatch(release) else package)
    look = "`ldm plugins list` shows those that are installed; nothing is installed for a picture"
    said = [f"{look} by itself: `pip install {' '.join(words)}` does it." if words else f"{look}."]
    if files:
        said = [
            *(said if words else ()),
            f"name the file of a '{LOCAL}' plugin by --plugin FILE.py",
        ]
    return " ".join(said)


def back(packages: Iterable[str], then: Manifest) -> str:
    """The command that installs packages as they were, where they are another release now; else
    nothing."""
    changed = [p for p in packages if another(p, then)]
    return install(changed, then) if changed else ""


def another(package: str, then: Manifest) -> bool:
    """Whether a package is another release now."""
    was = packages_of(then)
    return package in was and versions([package]).get(package) != was[package]
