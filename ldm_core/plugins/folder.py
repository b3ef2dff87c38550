"""The working folder, which relative names of files mean, and the standard output, which belongs to
results: no plugin is to change them."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from ldm_core.errors import LdmWarning
from ldm_core.plugins.itself import ends_where_forked, own, restored


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
    """See that the standard output is afterwards the stream that it was; where another stands in
    its place, that is said.

    Args:
        whose: in words, who may have changed it.
    """
    output, process = sys.stdout, os.getpid()
    before = own(output)
    try:
        yield
    finally:
        ends_where_forked(process)
        if restored(output, before):
            what = f"what the standard output does was changed by {whose()}"
            warnings.warn(LdmWarning(f"{what}; it is put back."), stacklevel=3)
        if sys.stdout is not output:
            sys.stdout = output
            what = f"another standard output was set by {whose()}"
            warnings.warn(LdmWarning(f"{what}; that of before is put back."), stacklevel=3)


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""
