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
from typing import Any

from ldm_core.errors import LdmError
from ldm_core.plugins.hookspecs import ENDS, HOOK_API, PRESENT, UNDERSTOOD
from ldm_core.values import brief

HOST = "ldm-core"
FUTURE = 50
"""So many numbers beyond those there are count as newer; a range without any of them as empty."""
Holds = Callable[[str], bool]
"""Whether a range holds a version."""


def understood(module: object, distribution: str = "") -> str:
    """The newest hook API of this release for which a module was written.

    Args:
        distribution: the package of the module, whose requirements may name the release that it
            needs.
    Raises:
        LdmError: it states none, or none that this release understands.
    """
    range_text, holds = _stated(module, distribution)
    for version in UNDERSTOOD:
        if holds(version):
            return version
    major, minor = map(int, HOOK_API.split("."))
    newer = [f"{major}.{minor + n}" for n in range(1, FUTURE)]
    newer += [str(major + n) for n in range(1, FUTURE)]
    if any(map(holds, newer)):
        raise LdmError(
            f"it is written for the hook API {range_text}, and this {_this_release()} has "
            f"{HOOK_API}; upgrade ldm-core: pip install --upgrade '{_release_for(distribution)}'"
        )
    raise LdmError(
        f"it is written for the hook API {range_text}, which is none of {HOST}'s: this "
        f"{_this_release()} understands {', '.join(reversed(UNDERSTOOD))}; state "
        f"ldm_api = '{PRESENT}' where it works with that"
    )


def _stated(module: object, distribution: str) -> tuple[str, Holds]:
    """The range that a module states, in words, and what it holds."""
    stated = getattr(module, "ldm_api", None)
    if stated is not None:
        return str(stated), _specifiers(stated)
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
    return words, lambda version: lowest <= int(version.partition(".")[0]) <= highest


def _specifiers(stated: Any) -> Holds:
    if stated == PRESENT:  # as most plugins say, for which nothing need be imported
        return lambda version: version.partition(".")[0] == HOOK_API.partition(".")[0]
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        if not isinstance(stated, str):
            raise InvalidSpecifier
        return SpecifierSet(stated).contains
    except InvalidSpecifier:
        raise LdmError(
            f"its ldm_api is {brief(stated)}, and should be a range, such as '{PRESENT}'"
        ) from None


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
