"""Which hook API a plugin was written for, and whether this release has it.

A module states a range, ``ldm_api = ">=2,<3"``. The first number of the hook API rises where
plugins have to change, the second where something is added; `ldm_core.plugins.hookspecs` says since
when each hook and argument exists, and until when.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from importlib import metadata
from typing import Any, NamedTuple

from ldm_core.errors import LdmError
from ldm_core.plugins.hookspecs import ENDS, HOOK_API, PRESENT, UNDERSTOOD
from ldm_core.values import brief

HOST = "ldm-core"
Numbers = tuple[int, int]
"""Of a version of the hook API."""


class Range(NamedTuple):
    """What a module states.

    Attributes:
        text: as it is written.
        holds: whether a version is in it.
        named: the versions that it names.
    """

    text: str
    holds: Callable[[str], bool]
    named: tuple[Numbers, ...]


def understood(module: object, distribution: str = "") -> str:
    """The newest hook API of this release for which a module was written.

    Args:
        distribution: the package of the module, whose requirements may name the release that it
            needs.
    Raises:
        LdmError: it states none, or none that this release understands.
    """
    stated = stated_range(module, distribution)
    for version in UNDERSTOOD:
        if stated.holds(version):
            return version
    ahead = {(a + up, b + on) for a, b in stated.named for up, on in ((0, 0), (0, 1), (1, 0))}
    if any(n > _numbers(HOOK_API) and stated.holds(f"{n[0]}.{n[1]}") for n in ahead):
        raise LdmError(
            f"it is written for the hook API {stated.text}, and this {_this_release()} has "
            f"{HOOK_API}; upgrade ldm-core: pip install --upgrade '{_release_for(distribution)}'"
        )
    raise LdmError(
        f"it is written for the hook API {stated.text}, which is none of {HOST}'s: this "
        f"{_this_release()} understands {', '.join(reversed(UNDERSTOOD))}; state "
        f"ldm_api = '{PRESENT}' where it works with that"
    )


def _numbers(version: str) -> Numbers:
    major, _, minor = version.partition(".")
    return int(major), int(minor or 0)


def stated_range(module: object, distribution: str) -> Range:
    """The range of the hook API that a module states.

    Raises:
        LdmError: it states none, or what is no range.
    """
    stated = getattr(module, "ldm_api", None)
    if stated is not None:
        return _specifiers(stated)
    stated = getattr(module, "ldm_api_version", None)
    if stated is None:
        raise LdmError(
            "it must state the hook API that it was written for, such as "
            f"ldm_api = '{PRESENT}'; it does not say which"
        )
    lowest, highest = stated if isinstance(stated, tuple) and len(stated) == 2 else (stated, stated)
    if type(lowest) is not int or type(highest) is not int:
        raise LdmError(
            f"its ldm_api_version is {brief(stated)}; state a range, ldm_api = '{PRESENT}'"
        )
    ends = ENDS["ldm_api_version"]
    warnings.warn(
        f"the package {distribution} states 'ldm_api_version', which is read until ldm-core "
        f"{ends.gone}: {ends.instead}.",
        DeprecationWarning,
        stacklevel=2,
    )
    words = str(lowest) if lowest == highest else f"{lowest} to {highest}"
    return Range(words, lambda v: lowest <= _numbers(v)[0] <= highest, ((highest, 0),))


def _specifiers(stated: Any) -> Range:
    if stated == PRESENT:  # as most plugins say, for which nothing need be imported
        return Range(stated, lambda version: version == HOOK_API, ())
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import InvalidVersion, Version

    try:
        if not isinstance(stated, str):
            raise InvalidSpecifier
        specifiers = SpecifierSet(stated)
        releases = [(*Version(one.version.removesuffix(".*")).release, 0) for one in specifiers]
        if not releases:  # an empty range is of every version, and its module states none
            raise InvalidSpecifier
    except (InvalidSpecifier, InvalidVersion):
        raise LdmError(
            f"its ldm_api is {brief(stated)}, and should be a range, such as '{PRESENT}'"
        ) from None

    named = tuple((major, minor) for major, minor, *_ in releases)
    return Range(stated, lambda version: specifiers.contains(version, prereleases=True), named)


def _this_release() -> str:
    try:
        return f"{HOST} {metadata.version(HOST)}"
    except metadata.PackageNotFoundError:  # not installed, but on the path
        return HOST


def _release_for(distribution: str) -> str:
    """The requirement of ldm-core that a package states, which may say which release it needs."""
    try:
        needs = metadata.requires(distribution) if distribution else None
    except (metadata.PackageNotFoundError, ValueError):
        needs = None
    for requirement in needs or ():
        match = re.match(r"ldm[-_.]core\s*(\(?[<>=!~][^;)]*)", requirement, re.IGNORECASE)
        if match:
            return f"{HOST}{match.group(1).strip().lstrip('(')}"
    return HOST
