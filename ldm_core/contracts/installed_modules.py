"""Whether what a part needs is installed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.util import find_spec

from ldm_core.errors import LdmError
from ldm_core.values import brief

MODULE = re.compile(r"\w+(\.\w+)*")
EXTRA = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
"""Names of extras, as PEP 508 has them."""


def is_there(module: str) -> bool:
    """Whether a module can be imported, of whose package nobody knows whether that is there."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def check_needs(whose: str, needs: Iterable[str], extra: str | None) -> None:
    """See that modules which something needs, and the extra of ldm-core that installs them, are
    names and nothing else: they stand in a command that a person is told to type.

    Raises:
        LdmError: they are not.
    """
    for name in needs:
        if MODULE.fullmatch(name) is None:
            raise LdmError(f"what {whose} needs are names of modules, and {brief(name)} is none.")
    if extra is not None and EXTRA.fullmatch(extra) is None:
        raise LdmError(f"the extra of {whose} is a word, as 'video', not {brief(extra)}.")
