"""What a process has once for all that run in it, which no plugin is to change while it is used:
the working folder, which relative names of files mean, the standard output, which belongs to
results, what is said beside it, and what runs are made with."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from ldm_core.errors import LdmWarning
from ldm_core.plugins.itself import ends_where_forked
from ldm_core.plugins.voices import Voices


@contextmanager
def kept_folder(whose: Callable[[], str]) -> Iterator[None]:
    """See that the working folder is afterwards what it was; where it was changed, that is said.

    Args:
        whose: in words, who may have changed it.
    """
    here = _folder()
    try:
        with kept_output(whose):
            yield
    finally:
        now = _folder()
        if here and now != here:
            with suppress(OSError):  # it is gone, and there is nowhere to go back to
                os.chdir(here)
                what = f"the working folder was changed to {now or 'one that is gone'}"
                warnings.warn(LdmWarning(f"{what} by {whose()}; it is put back."), stacklevel=3)


@contextmanager
def kept_output(whose: Callable[[], str]) -> Iterator[None]:
    """See that what is printed, logged and warned of is heard afterwards as it was, and that what
    runs are made with is as it was; what was changed is put back, and that is said.

    Args:
        whose: in words, who may have changed it.
    """
    from ldm_core.plugins.discovery import packages
    from ldm_core.plugins.meanwhile import nothing_replaced

    process = os.getpid()
    voices = Voices()
    try:
        with nothing_replaced(whose, packages):
            yield
    finally:
        ends_where_forked(process)
        for what in voices.put_back():
            warnings.warn(LdmWarning(what.format(whose())), stacklevel=3)


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""
