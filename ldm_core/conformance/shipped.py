"""Which packages ship a certificate, and what lists show of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from ldm_core.plugins.ownership import file_of
from ldm_core.plugins.registry import Plugin

CERTIFICATE = "ldm-certificate.json"
"""How the name of a certificate that a package ships ends."""


def certificates(plugins: Iterable[Plugin]) -> dict[str, str]:
    """What there is to show of the certificates of some plugins' packages, by distribution; of one
    that ships none, nothing."""
    tops: dict[str, set[str]] = {}
    for plugin in plugins:
        tops.setdefault(plugin.distribution, set()).add(plugin.package)
    shown = {}
    for distribution, names in tops.items():
        if any(_ships(top) for top in names):
            from ldm_core.conformance.certificate import in_a_few_words
            from ldm_core.conformance.packages import find_package

            package = find_package(distribution)
            if package is not None and (words := in_a_few_words(package)):
                shown[distribution] = words
    return shown


def _ships(top: str) -> bool:
    """Whether a certificate lies in or beside a module that is imported."""
    module = sys.modules.get(top)
    file = None if module is None else file_of(module)
    if file is None:
        return False
    names = (CERTIFICATE, f"{top}.{CERTIFICATE}")
    return any(os.path.isfile(os.path.join(file.parent, name)) for name in names)
