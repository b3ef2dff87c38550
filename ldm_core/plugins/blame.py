"""Whose failure it is: what leaves the code of another package is told as that package's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ldm_core.errors import LdmError, PluginError
from ldm_core.machine import machine_error

if TYPE_CHECKING:
    from ldm_core.plugins.registry import Plugin

OWN = "ldm-core"
"""The distribution whose plugins' faults are ours."""


@contextmanager
def blamed(plugin: Plugin | None, doing: str) -> Iterator[None]:
    """See that what a plugin's code raises, or ends the program with, is a `PluginError`.

    An `LdmError`, which is a person's bad input, what the machine refuses and an interrupt pass as
    they are, and so does whatever our own plugins raise.

    Args:
        plugin: None for a part that was made in Python, whose errors are its program's.
        doing: what it is doing, as ``while it was imported``.
    Raises:
        PluginError: its code failed.
    """
    try:
        yield
    except LdmError:
        raise
    except (Exception, SystemExit) as error:
        if plugin is None or plugin.distribution == OWN or machine_error(error) is not None:
            raise
        raise PluginError(plugin.whose, doing, error) from error
